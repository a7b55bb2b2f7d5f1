package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// rawConn is a net.PacketConn whose datagrams travel as payloads of forged TCP segments.
type rawConn struct {
	sock  *os.File // AF_PACKET socket, bound to the interface
	local netip.AddrPort
	peer  netip.AddrPort // if valid (client), packets from elsewhere are ignored
	flags *flagBook

	recvMu  sync.Mutex
	recvBuf []byte

	sendMu  sync.Mutex
	sendBuf []byte
	craft   crafter
}

// openRaw opens the packet socket. Port 0 of local means a random one.
func openRaw(iface string, local netip.AddrPort, routerMAC net.HardwareAddr, peer netip.AddrPort, flags *flagBook) (*rawConn, error) {
	dev, err := net.InterfaceByName(iface)
	if err != nil {
		return nil, err
	}
	if len(dev.HardwareAddr) != 6 {
		return nil, fmt.Errorf("%s has no Ethernet address", iface)
	}
	if local.Port() == 0 {
		local = netip.AddrPortFrom(local.Addr(), uint16(32768+rand.IntN(32768)))
	}
	sock, err := openPacketSocket(dev.Index, local.Port())
	if err != nil {
		return nil, err
	}
	return &rawConn{
		sock: sock, local: local, peer: peer, flags: flags,
		recvBuf: make([]byte, 1<<16),
		sendBuf: make([]byte, 0, 2048),
		craft: crafter{
			srcMAC: dev.HardwareAddr, dstMAC: routerMAC, src: local,
			t0: uint32(time.Now().UnixMilli()),
		},
	}, nil
}

func openPacketSocket(ifindex int, port uint16) (*os.File, error) {
	// Protocol 0 receives nothing until bind, so no packet gets past the filter.
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("packet socket: %w", err)
	}
	fail := func(what string, err error) (*os.File, error) {
		unix.Close(fd)
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	filter, err := portFilter(port)
	if err != nil {
		return fail("filter", err)
	}
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	if err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &prog); err != nil {
		return fail("attach filter", err)
	}
	// Large buffers and deafness for own packets are welcome but not vital.
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 8<<20)
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, 4<<20)
	_ = unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1)
	// ETH_P_ALL, not ETH_P_IP: only such a socket sees packets that a netdev ingress rule drops.
	addr := unix.SockaddrLinklayer{Protocol: htons(unix.ETH_P_ALL), Ifindex: ifindex}
	if err := unix.Bind(fd, &addr); err != nil {
		return fail("bind packet socket", err)
	}
	return os.NewFile(uintptr(fd), "packet socket"), nil
}

func htons(v uint16) uint16 { return v<<8 | v>>8 }

// portFilter is "tcp and dst port P" for IPv4 (not for later fragments) and IPv6 without extension headers.
func portFilter(port uint16) ([]unix.SockFilter, error) {
	raw, err := bpf.Assemble([]bpf.Instruction{
		bpf.LoadAbsolute{Off: 12, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: etherTypeIPv6, SkipFalse: 4},
		bpf.LoadAbsolute{Off: etherLen + 6, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: protoTCP, SkipFalse: 10},
		bpf.LoadAbsolute{Off: etherLen + 40 + 2, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(port), SkipTrue: 7, SkipFalse: 8},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: etherTypeIPv4, SkipFalse: 7},
		bpf.LoadAbsolute{Off: etherLen + 9, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: protoTCP, SkipFalse: 5},
		bpf.LoadAbsolute{Off: etherLen + 6, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpBitsSet, Val: 0x1FFF, SkipTrue: 3},
		bpf.LoadMemShift{Off: etherLen},
		bpf.LoadIndirect{Off: etherLen + 2, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(port), SkipFalse: 1},
		bpf.RetConstant{Val: 1 << 16},
		bpf.RetConstant{Val: 0},
	})
	if err != nil {
		return nil, err
	}
	prog := make([]unix.SockFilter, len(raw))
	for i, ins := range raw {
		prog[i] = unix.SockFilter{Code: ins.Op, Jt: ins.Jt, Jf: ins.Jf, K: ins.K}
	}
	return prog, nil
}

// ReadFrom returns the payload of the next segment, cut to len(b) like the originals do.
func (c *rawConn) ReadFrom(b []byte) (int, net.Addr, error) {
	c.recvMu.Lock()
	defer c.recvMu.Unlock()
	for {
		n, err := c.sock.Read(c.recvBuf)
		if err != nil {
			if errors.Is(err, unix.ENETDOWN) {
				continue
			}
			return 0, nil, err
		}
		src, payload, ok := parseFrame(c.recvBuf[:n])
		if !ok || c.peer.IsValid() && src != c.peer {
			continue
		}
		return copy(b, payload), net.UDPAddrFromAddrPort(src), nil
	}
}

// WriteTo sends b as one segment. A full device queue is waited for; a packet that cannot be sent in the
// end is lost, which the layers above repair.
func (c *rawConn) WriteTo(b []byte, addr net.Addr) (int, error) {
	udp, ok := addr.(*net.UDPAddr)
	if !ok {
		return 0, fmt.Errorf("unexpected address %v", addr)
	}
	to := unmap(udp.AddrPort())
	if to.Addr().Is4() != c.local.Addr().Is4() {
		return 0, fmt.Errorf("%v and %v are of different IP versions", c.local, to)
	}
	c.sendMu.Lock()
	defer c.sendMu.Unlock()
	c.sendBuf = c.craft.frame(c.sendBuf[:0], to, c.flags.take(to), b)
	for try := 0; ; try++ {
		_, err := c.sock.Write(c.sendBuf)
		if errors.Is(err, unix.ENOBUFS) || errors.Is(err, unix.ENETDOWN) {
			if try < 10 {
				time.Sleep(200 * time.Microsecond)
				continue
			}
			return len(b), nil
		}
		return len(b), err
	}
}

// unmap makes ::ffff:1.2.3.4 plain 1.2.3.4.
func unmap(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()) }

func (c *rawConn) Close() error                       { return c.sock.Close() }
func (c *rawConn) LocalAddr() net.Addr                { return net.UDPAddrFromAddrPort(c.local) }
func (c *rawConn) SetDeadline(t time.Time) error      { return c.sock.SetDeadline(t) }
func (c *rawConn) SetReadDeadline(t time.Time) error  { return c.sock.SetReadDeadline(t) }
func (c *rawConn) SetWriteDeadline(t time.Time) error { return c.sock.SetWriteDeadline(t) }
