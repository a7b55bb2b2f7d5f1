package main

import (
	"fmt"
	"net/netip"
	"strings"
	"sync"

	"paqet/interop/internal/conf"
)

// flagSet is a combination of TCP flags. Bits 0 to 7 are those of byte 13 of the TCP header, bit 8 is NS;
// family B sends exactly this number in its TCPF message.
type flagSet uint16

// flagLetters has the letter of each flag at the index of its bit.
const flagLetters = "FSRPAUECN"

const (
	flagSYN flagSet = 1 << 1
	flagACK flagSet = 1 << 4
)

// parseFlagSets reads a comma separated list such as "PA,A"; an empty item is a set without flags.
func parseFlagSets(text string) ([]flagSet, error) {
	var sets []flagSet
	for _, item := range strings.Split(text, ",") {
		var set flagSet
		for _, letter := range strings.TrimSpace(item) {
			bit := strings.IndexRune(flagLetters, letter)
			if bit < 0 {
				return nil, fmt.Errorf("invalid TCP flag %q", letter)
			}
			set |= 1 << bit
		}
		sets = append(sets, set)
	}
	return sets, nil
}

func (s flagSet) toGob() conf.TCPF {
	on := func(bit int) bool { return s>>bit&1 == 1 }
	return conf.TCPF{FIN: on(0), SYN: on(1), RST: on(2), PSH: on(3), ACK: on(4), URG: on(5), ECE: on(6), CWR: on(7), NS: on(8)}
}

func flagSetFromGob(t conf.TCPF) flagSet {
	var s flagSet
	for bit, on := range []bool{t.FIN, t.SYN, t.RST, t.PSH, t.ACK, t.URG, t.ECE, t.CWR, t.NS} {
		if on {
			s |= 1 << bit
		}
	}
	return s
}

// flagCycle hands out the sets of a list in turn.
type flagCycle struct {
	sets []flagSet
	next int
}

func (c *flagCycle) take() flagSet {
	s := c.sets[c.next%len(c.sets)]
	c.next++
	return s
}

// flagBook knows with which flags the next packet to an address goes out: the cycle that the address
// asked for with TCPF, else the local one.
type flagBook struct {
	mu     sync.Mutex
	local  flagCycle
	remote map[netip.AddrPort]*flagCycle
}

func newFlagBook(local []flagSet) *flagBook {
	return &flagBook{local: flagCycle{sets: local}, remote: map[netip.AddrPort]*flagCycle{}}
}

func (b *flagBook) take(to netip.AddrPort) flagSet {
	b.mu.Lock()
	defer b.mu.Unlock()
	if c := b.remote[to]; c != nil {
		return c.take()
	}
	return b.local.take()
}

// set starts the cycle of a TCPF message at entry start. Every message restarts it, also an identical one.
func (b *flagBook) set(to netip.AddrPort, sets []flagSet, start int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.remote[to] = &flagCycle{sets: sets, next: start}
}

func (b *flagBook) forget(to netip.AddrPort) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.remote, to)
}
