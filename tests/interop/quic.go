package main

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"net/netip"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/xtaci/smux"
)

// stream is one of smux or of QUIC.
type stream interface {
	Read([]byte) (int, error)
	Write([]byte) (int, error)
	Close() error
	SetReadDeadline(time.Time) error
	ID() uint32
}

type mux interface {
	OpenStream() (stream, error)
}

type smuxMux struct{ session *smux.Session }

func (m smuxMux) OpenStream() (stream, error) { return m.session.OpenStream() }

// quicStream ends its own half alone when it is closed, and reads on for nobody: so do the originals.
type quicStream struct{ *quic.Stream }

func (s quicStream) ID() uint32 { return uint32(s.Stream.StreamID()) }

type quicMux struct{ conn *quic.Conn }

func (m quicMux) OpenStream() (stream, error) {
	s, err := m.conn.OpenStreamSync(context.Background())
	if err != nil {
		return nil, err
	}
	return quicStream{s}, nil
}

const alpn = "paqet-quic"

// quicConfig has the settings of family A, which are larger for a server.
func quicConfig(server bool) *quic.Config {
	const mib = 1 << 20
	c := &quic.Config{
		MaxIdleTimeout: 30 * time.Second, KeepAlivePeriod: 10 * time.Second,
		MaxIncomingStreams: 5000, MaxIncomingUniStreams: 5000,
		InitialStreamReceiveWindow: 6 * mib, MaxStreamReceiveWindow: 24 * mib,
		InitialConnectionReceiveWindow: 15 * mib, MaxConnectionReceiveWindow: 60 * mib,
		Allow0RTT: true,
	}
	if server {
		c.MaxIdleTimeout, c.KeepAlivePeriod = 60*time.Second, 15*time.Second
		c.MaxIncomingStreams, c.MaxIncomingUniStreams = 50000, 50000
		c.InitialStreamReceiveWindow, c.MaxStreamReceiveWindow = 10*mib, 40*mib
		c.InitialConnectionReceiveWindow, c.MaxConnectionReceiveWindow = 30*mib, 100*mib
	}
	return c
}

// certificate is as new as the server, and has no name in it.
func certificate() (tls.Certificate, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now(), NotAfter: time.Now().Add(365 * 24 * time.Hour),
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}

func (s *server) runQUIC() error {
	cert, err := certificate()
	if err != nil {
		return err
	}
	transport := &quic.Transport{Conn: s.raw}
	listener, err := transport.Listen(&tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{alpn}}, quicConfig(true))
	if err != nil {
		return err
	}
	for {
		conn, err := listener.Accept(context.Background())
		if err != nil {
			return err
		}
		go s.serveQUIC(conn, unmap(conn.RemoteAddr().(*net.UDPAddr).AddrPort()))
	}
}

func (s *server) serveQUIC(conn *quic.Conn, from netip.AddrPort) {
	verbosef("%v: connection", from)
	for {
		accepted, err := conn.AcceptStream(context.Background())
		if err != nil {
			verbosef("%v: connection ended: %v", from, err)
			return
		}
		go func() {
			stream := quicStream{accepted}
			defer stream.Close()
			if err := s.serveStream(stream, from); err != nil {
				verbosef("%v: stream %d: %v", from, stream.ID(), err)
			}
		}()
	}
}

func connectQUIC(f *family, _ *tunnelConfig, raw *rawConn, remoteFlags []flagSet, job jobOptions) (*client, error) {
	transport := &quic.Transport{Conn: raw}
	limit, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	conf := &tls.Config{InsecureSkipVerify: true, NextProtos: []string{alpn}}
	conn, err := transport.Dial(limit, net.UDPAddrFromAddrPort(raw.peer), conf, quicConfig(false))
	if err != nil {
		return nil, err
	}
	return begin(f, quicMux{conn}, remoteFlags, job)
}
