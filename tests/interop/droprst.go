package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"
)

// rstGuard keeps the kernel from answering our packets, which it knows nothing about, with RST.
//
// The rule stands in an nftables table of its own with the flag "owner": the kernel removes it together
// with the netlink socket that made it. That socket belongs to an interactive nft child, which ends when
// our end of its standard input closes, so nothing is left behind whatever kills this process.
type rstGuard struct {
	nft   *exec.Cmd
	stdin io.WriteCloser
}

func guardPort(port uint16) (*rstGuard, error) {
	name := fmt.Sprintf("paqet_peer_%d", os.Getpid())
	nft := exec.Command("nft", "-i")
	nft.Stderr = os.Stderr
	stdin, err := nft.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := nft.Start(); err != nil {
		return nil, fmt.Errorf("nft: %w", err)
	}
	g := &rstGuard{nft, stdin}
	fmt.Fprintf(stdin, "add table inet %s { flags owner; }\n", name)
	fmt.Fprintf(stdin, "add chain inet %s out { type filter hook output priority -350; }\n", name)
	fmt.Fprintf(stdin, "add rule inet %s out tcp sport %d tcp flags & rst == rst drop\n", name, port)
	for end := time.Now().Add(3 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		list, err := exec.Command("nft", "list", "chain", "inet", name, "out").Output()
		if err == nil && bytes.Contains(list, []byte("drop")) {
			return g, nil
		}
	}
	g.Close()
	return nil, fmt.Errorf("nft did not accept the rule that drops RST of port %d", port)
}

func (g *rstGuard) Close() {
	g.stdin.Close()
	g.nft.Wait()
}
