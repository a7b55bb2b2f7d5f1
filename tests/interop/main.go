// Command peer is the opposite side for tests of paqet: a client and a server that speak the wire protocol
// of both families (kcp transport), built on the libraries the original programs use, kcp-go and smux.
//
//	peer -role server -family a|b|b20 -iface DEV -local IP:PORT -router-mac MAC -block NAME -key TEXT
//	peer -role client -family a|b|b20 -iface DEV -local IP:0 -router-mac MAC -server IP:PORT -block NAME -key TEXT
//	     -job echo|ping|empty|refused|udp -target HOST:PORT
//	peer -role echo -listen IP:PORT
//
// A server or an echo service prints "ready ADDRESS" when it listens. A client prints one line, "ok JOB …" or
// "FAIL JOB reason", and exits with 0 or 1; 2 means that the program could not start. Every role stops by itself
// after -timeout: a client has failed then, the others exit with 0.
package main

import (
	"errors"
	"flag"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

type options struct {
	role, family, iface, local, server, routerMAC string
	block, key, mode                              string
	mtu, dshard, pshard, sndwnd, rcvwnd           int
	stream, transport                             string
	localFlags, remoteFlags                       string
	job, listen                                   string
	dropRST, verbose                              bool
	timeout, idle, keepalive                      time.Duration
	work                                          jobOptions
}

func parseOptions() *options {
	o := &options{}
	flag.StringVar(&o.role, "role", "", "server, client or echo")
	flag.StringVar(&o.family, "family", "a", "a (gob headers), b (binary headers) or b20 (those of alpha.20)")
	flag.StringVar(&o.iface, "iface", "", "network interface")
	flag.StringVar(&o.local, "local", "", "own IP:PORT; port 0 takes a random one")
	flag.StringVar(&o.routerMAC, "router-mac", "", "Ethernet address that all frames go to")
	flag.StringVar(&o.server, "server", "", "client: IP:PORT of the server")
	flag.StringVar(&o.block, "block", "aes", "cipher")
	flag.StringVar(&o.key, "key", "", "pass phrase")
	flag.StringVar(&o.mode, "mode", "fast", "normal, fast, fast2 or fast3")
	flag.IntVar(&o.mtu, "mtu", 1350, "KCP MTU")
	flag.IntVar(&o.dshard, "dshard", 0, "FEC data shards")
	flag.IntVar(&o.pshard, "pshard", 0, "FEC parity shards")
	flag.IntVar(&o.sndwnd, "sndwnd", 0, "KCP send window, segments (default: that of the family)")
	flag.IntVar(&o.rcvwnd, "rcvwnd", 0, "KCP receive window, segments (default: that of the family)")
	flag.StringVar(&o.stream, "stream", "", "true: KCP stream mode, false: message mode (default: that of the family)")
	flag.StringVar(&o.transport, "transport", "kcp", "kcp, or quic as family A has it")
	flag.StringVar(&o.localFlags, "flags", "PA", "TCP flag sets to send with, e.g. PA,A")
	flag.StringVar(&o.remoteFlags, "remote-flags", "PA", "client: TCP flag sets the server shall send with")
	flag.BoolVar(&o.dropRST, "drop-rst", false, "stop the RSTs of the kernel with an nftables rule that ends with the program")
	flag.StringVar(&o.job, "job", "echo", "client: echo, ping, empty, refused or udp")
	flag.StringVar(&o.work.target, "target", "", "client: HOST:PORT of an echo service, or for refused of nobody")
	flag.Int64Var(&o.work.bytes, "bytes", 1<<20, "echo: bytes for each stream")
	flag.IntVar(&o.work.parallel, "par", 1, "echo: streams at once")
	flag.IntVar(&o.work.rounds, "rounds", 1, "echo: so often, one after the other")
	flag.IntVar(&o.work.count, "count", 50, "udp: datagrams")
	flag.IntVar(&o.work.size, "size", 1000, "udp: bytes of each datagram")
	flag.Uint64Var(&o.work.seed, "seed", 1, "echo, udp: seed of the pseudo-random bytes")
	flag.DurationVar(&o.idle, "idle", 0, "client: wait between connecting and the job")
	flag.DurationVar(&o.keepalive, "keepalive", 2*time.Second, "interval of smux's NOPs; no frame for four of them ends the session")
	flag.StringVar(&o.listen, "listen", "", "echo: IP:PORT")
	flag.DurationVar(&o.timeout, "timeout", 60*time.Second, "stop after this time")
	flag.BoolVar(&o.verbose, "v", false, "say on stderr what happens")
	flag.Parse()
	return o
}

var verbose bool

func verbosef(format string, args ...any) {
	if verbose {
		fmt.Fprintf(os.Stderr, time.Now().Format("15:04:05.000 ")+format+"\n", args...)
	}
}

func main() {
	o := parseOptions()
	verbose = o.verbose
	os.Exit(run(o))
}

// run returns the exit code. It has all cleaning up in its defers, so nothing below calls os.Exit.
func run(o *options) int {
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, syscall.SIGINT, syscall.SIGTERM)
	timeout := time.After(o.timeout)

	var work func() (string, error)
	switch o.role {
	case "echo":
		work = func() (string, error) {
			return "", serveEcho(o.listen, func() { fmt.Println("ready", o.listen) })
		}
	case "client", "server":
		var cleanup func()
		var err error
		work, cleanup, err = o.prepare()
		if err != nil {
			fmt.Fprintln(os.Stderr, "peer:", err)
			return 2
		}
		defer cleanup()
	default:
		fmt.Fprintln(os.Stderr, "peer: -role must be server, client or echo")
		return 2
	}

	type result struct {
		text string
		err  error
	}
	done := make(chan result, 1)
	go func() {
		text, err := work()
		done <- result{text, err}
	}()
	select {
	case r := <-done:
		if o.role == "client" {
			return report(o.job, r.text, r.err)
		}
		fmt.Fprintln(os.Stderr, "peer:", r.err)
		return 2
	case <-interrupted:
		if o.role == "client" {
			return report(o.job, "", errors.New("interrupted"))
		}
	case <-timeout:
		if o.role == "client" {
			return report(o.job, "", fmt.Errorf("time-out after %v", o.timeout))
		}
	}
	return 0
}

// report prints the one line of a client and returns its exit code.
func report(job, text string, err error) int {
	if err != nil {
		fmt.Println("FAIL", job, strings.ReplaceAll(err.Error(), "\n", "; "))
		return 1
	}
	fmt.Println("ok", job, text)
	return 0
}

// prepare opens the packet connection of a client or server and returns its work.
func (o *options) prepare() (work func() (string, error), cleanup func(), err error) {
	isServer := o.role == "server"
	f, err := familyByName(o.family)
	if err != nil {
		return nil, nil, err
	}
	tunnel, err := o.tunnel(f, isServer)
	if err != nil {
		return nil, nil, err
	}
	job := jobs[o.job]
	if !isServer && job == nil {
		return nil, nil, fmt.Errorf("unknown job %q", o.job)
	}
	local, err := netip.ParseAddrPort(o.local)
	if err != nil {
		return nil, nil, fmt.Errorf("-local: %w", err)
	}
	mac, err := net.ParseMAC(o.routerMAC)
	if err != nil {
		return nil, nil, fmt.Errorf("-router-mac: %w", err)
	}
	var peer netip.AddrPort
	if !isServer {
		if peer, err = netip.ParseAddrPort(o.server); err != nil {
			return nil, nil, fmt.Errorf("-server: %w", err)
		}
	}
	localFlags, err := parseFlagSets(o.localFlags)
	if err != nil {
		return nil, nil, err
	}
	remoteFlags, err := parseFlagSets(o.remoteFlags)
	if err != nil {
		return nil, nil, err
	}
	raw, err := openRaw(o.iface, unmap(local), mac, unmap(peer), newFlagBook(localFlags))
	if err != nil {
		return nil, nil, err
	}
	cleanup = func() { raw.Close() }
	if o.dropRST {
		guard, err := guardPort(raw.local.Port())
		if err != nil {
			cleanup()
			return nil, nil, err
		}
		cleanup = func() { raw.Close(); guard.Close() }
	}
	if isServer {
		fmt.Println("ready", raw.local)
		s := &server{f, *tunnel, raw, o.transport == "quic"}
		return func() (string, error) { return "", s.run() }, cleanup, nil
	}
	work = func() (string, error) {
		dial := connect
		if o.transport == "quic" {
			dial = connectQUIC
		}
		c, err := dial(f, tunnel, raw, remoteFlags, o.work)
		if err != nil {
			return "", err
		}
		time.Sleep(o.idle)
		text, err := job(c)
		time.Sleep(150 * time.Millisecond) // lets the last FIN leave: KCP sends at intervals
		return text, err
	}
	return work, cleanup, nil
}

func (o *options) tunnel(f *family, isServer bool) (*tunnelConfig, error) {
	block, err := newBlock(o.block, o.key)
	if err != nil {
		return nil, err
	}
	mode, ok := kcpModes[o.mode]
	if !ok {
		return nil, fmt.Errorf("unknown mode %q", o.mode)
	}
	t := &tunnelConfig{
		block: block, mode: mode, mtu: o.mtu, dshard: o.dshard, pshard: o.pshard,
		sndwnd: o.sndwnd, rcvwnd: o.rcvwnd, streamMode: f.streamMode, keepalive: o.keepalive,
	}
	snd, rcv := defaultWindows(f, isServer)
	if t.sndwnd == 0 {
		t.sndwnd = snd
	}
	if t.rcvwnd == 0 {
		t.rcvwnd = rcv
	}
	switch o.stream {
	case "":
	case "true", "false":
		t.streamMode = o.stream == "true"
	default:
		return nil, fmt.Errorf("-stream must be true or false")
	}
	return t, nil
}
