package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/xtaci/kcp-go/v5"
	"github.com/xtaci/smux"
)

const answerLimit = 5 * time.Second // for the single answer of the jobs ping, refused and udp

// client is one session with a server, on which one job is run.
type client struct {
	family      *family
	mux         mux
	remoteFlags []flagSet
	job         jobOptions
}

type jobOptions struct {
	target   string
	bytes    int64
	parallel int
	rounds   int
	count    int
	size     int
	seed     uint64
}

// jobs return the text that follows "ok NAME".
var jobs = map[string]func(*client) (string, error){
	"echo":    (*client).echo,
	"ping":    (*client).ping,
	"empty":   (*client).empty,
	"refused": (*client).refused,
	"udp":     (*client).udp,
}

// connect opens the session and does what both families do first: ask for the reply flags.
func connect(f *family, t *tunnelConfig, raw *rawConn, remoteFlags []flagSet, job jobOptions) (*client, error) {
	to := net.UDPAddrFromAddrPort(raw.peer)
	session, err := kcp.NewConn2(to, t.block, t.dshard, t.pshard, raw)
	if err != nil {
		return nil, err
	}
	t.tune(session)
	muxed, err := smux.Client(session, t.smux())
	if err != nil {
		return nil, err
	}
	return begin(f, smuxMux{muxed}, remoteFlags, job)
}

func begin(f *family, m mux, remoteFlags []flagSet, job jobOptions) (*client, error) {
	c := &client{f, m, remoteFlags, job}
	return c, c.sendFlags()
}

func (c *client) sendFlags() error {
	stream, err := c.mux.OpenStream()
	if err != nil {
		return err
	}
	defer stream.Close()
	return c.family.writeHeader(stream, &header{kind: typeTCPF, flags: c.remoteFlags})
}

// sendEmpty is the liveness check of the originals: a stream without any byte.
func (c *client) sendEmpty() error {
	stream, err := c.mux.OpenStream()
	if err != nil {
		return err
	}
	return stream.Close()
}

// open makes a stream with a header the way the family does: B sends TCPF and an empty stream before each
// one, A (which does both at most every few seconds) the empty stream.
func (c *client) open(h *header) (stream, error) {
	if c.family.name != "a" {
		go c.sendFlags()
	}
	if err := c.sendEmpty(); err != nil {
		return nil, err
	}
	stream, err := c.mux.OpenStream()
	if err != nil {
		return nil, err
	}
	if err := c.family.writeHeader(stream, h); err != nil {
		stream.Close()
		return nil, err
	}
	return stream, nil
}

func (c *client) openTarget(kind byte) (stream, error) {
	host, portText, err := net.SplitHostPort(c.job.target)
	if err != nil {
		return nil, fmt.Errorf("-target: %w", err)
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil {
		return nil, fmt.Errorf("-target: %w", err)
	}
	return c.open(&header{kind: kind, host: host, port: int(port)})
}

// ping wants a PONG.
func (c *client) ping() (string, error) {
	start := time.Now()
	stream, err := c.open(&header{kind: typePing})
	if err != nil {
		return "", err
	}
	defer stream.Close()
	stream.SetReadDeadline(start.Add(answerLimit))
	h, err := c.family.readHeader(stream)
	if err != nil {
		return "", fmt.Errorf("no PONG: %w", err)
	}
	if h.kind != typePong {
		return "", fmt.Errorf("answer of type %d, not PONG", h.kind)
	}
	return fmt.Sprintf("ms=%.1f", millis(start)), nil
}

// empty opens and closes 20 streams without content, then checks that the session still works.
func (c *client) empty() (string, error) {
	for range 20 {
		if err := c.sendEmpty(); err != nil {
			return "", err
		}
	}
	sum, err := c.echoStream(1024, c.job.seed)
	if err != nil {
		return "", err
	}
	return "streams=20 bytes=1024 sha256=" + sum, nil
}

// refused connects to a target that refuses: the stream must end without data.
func (c *client) refused() (string, error) {
	start := time.Now()
	stream, err := c.openTarget(typeTCP)
	if err != nil {
		return "", err
	}
	defer stream.Close()
	stream.SetReadDeadline(start.Add(answerLimit))
	n, err := stream.Read(make([]byte, 1))
	if n > 0 {
		return "", errors.New("data from a target that should refuse")
	}
	if !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("no end of the stream: %w", err)
	}
	return fmt.Sprintf("ms=%.1f", millis(start)), nil
}

// echo runs the echo check on one or several streams at once, as often as wanted.
func (c *client) echo() (string, error) {
	for round := 1; round < c.job.rounds; round++ {
		if text, err := c.echoOnce(); err != nil {
			return text, fmt.Errorf("round %d: %w", round, err)
		}
	}
	return c.echoOnce()
}

func (c *client) echoOnce() (string, error) {
	start := time.Now()
	sums := make([]string, c.job.parallel)
	errs := make([]error, c.job.parallel)
	var wait sync.WaitGroup
	for i := range sums {
		wait.Add(1)
		go func() {
			defer wait.Done()
			sums[i], errs[i] = c.echoStream(c.job.bytes, c.job.seed+uint64(i))
		}()
	}
	wait.Wait()
	if err := errors.Join(errs...); err != nil {
		return "", err
	}
	total := c.job.bytes * int64(c.job.parallel)
	ms := millis(start)
	return fmt.Sprintf("bytes=%d streams=%d ms=%.1f mbps=%.1f sha256=%s", total, len(sums), ms, float64(total)*8/1000/ms, sums[0]), nil
}

// echoStream sends n pseudo-random bytes to a TCP echo service while it reads them back, and returns the
// hash of what came.
func (c *client) echoStream(n int64, seed uint64) (string, error) {
	stream, err := c.openTarget(typeTCP)
	if err != nil {
		return "", err
	}
	defer stream.Close()

	sentHash := make(chan []byte, 1)
	sendErr := make(chan error, 1)
	go func() {
		sum, err := sendRandom(stream, n, seed, c.family.clientChunk)
		if err != nil {
			sendErr <- err
			return
		}
		sentHash <- sum
	}()

	got := sha256.New()
	want := newRandom(seed)
	buf := make([]byte, 1<<16)
	expected := make([]byte, len(buf))
	for at := int64(0); at < n; {
		m, err := stream.Read(buf)
		if err != nil {
			select {
			case sErr := <-sendErr:
				err = errors.Join(err, sErr)
			default:
			}
			return "", fmt.Errorf("stream %d ended after %d of %d bytes: %w", stream.ID(), at, n, err)
		}
		if int64(m) > n-at {
			return "", fmt.Errorf("stream %d: more than the %d bytes sent", stream.ID(), n)
		}
		want.Read(expected[:m])
		for i := range m {
			if buf[i] != expected[i] {
				return "", fmt.Errorf("stream %d: wrong byte at offset %d", stream.ID(), at+int64(i))
			}
		}
		got.Write(buf[:m])
		at += int64(m)
	}
	sum := got.Sum(nil)
	select {
	case sent := <-sentHash:
		if !bytes.Equal(sent, sum) {
			return "", fmt.Errorf("stream %d: SHA-256 differs", stream.ID())
		}
	case err := <-sendErr:
		return "", err
	}
	return hex.EncodeToString(sum[:8]), nil
}

func newRandom(seed uint64) *rand.ChaCha8 {
	var key [32]byte
	binary.LittleEndian.PutUint64(key[:], seed)
	return rand.NewChaCha8(key)
}

// sendRandom writes n pseudo-random bytes and returns their hash.
func sendRandom(w io.Writer, n int64, seed uint64, chunk int) ([]byte, error) {
	random := newRandom(seed)
	sum := sha256.New()
	buf := make([]byte, chunk)
	for n > 0 {
		b := buf[:min(n, int64(chunk))]
		random.Read(b)
		sum.Write(b)
		if _, err := w.Write(b); err != nil {
			return nil, err
		}
		n -= int64(len(b))
	}
	return sum.Sum(nil), nil
}

// udp sends datagrams to a UDP echo service, one after the other, and wants each back: as one frame where there are
// frames, over QUIC just its bytes, since a packet with other things in it has no room for all of them.
func (c *client) udp() (string, error) {
	start := time.Now()
	stream, err := c.openTarget(typeUDP)
	if err != nil {
		return "", err
	}
	defer stream.Close()
	random := newRandom(c.job.seed)
	sent := make([]byte, c.job.size)
	got := make([]byte, 1<<16)
	atLeast := c.job.size
	if _, framed := c.mux.(smuxMux); framed {
		atLeast = 1
	}
	for i := range c.job.count {
		random.Read(sent)
		if _, err := stream.Write(sent); err != nil {
			return "", fmt.Errorf("datagram %d: %w", i, err)
		}
		stream.SetReadDeadline(time.Now().Add(answerLimit))
		n, err := io.ReadAtLeast(stream, got, atLeast)
		if err != nil {
			return "", fmt.Errorf("datagram %d: %w", i, err)
		}
		if !bytes.Equal(got[:n], sent) {
			return "", fmt.Errorf("datagram %d: %d other bytes came back, %d were sent", i, n, len(sent))
		}
	}
	return fmt.Sprintf("datagrams=%d size=%d ms=%.1f", c.job.count, c.job.size, millis(start)), nil
}

func millis(since time.Time) float64 { return float64(time.Since(since).Microseconds()) / 1000 }
