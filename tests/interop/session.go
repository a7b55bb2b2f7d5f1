package main

import (
	"crypto/pbkdf2"
	"crypto/sha256"
	"fmt"
	"runtime"
	"time"

	"github.com/xtaci/kcp-go/v5"
	"github.com/xtaci/smux"
)

// tunnelConfig is everything between the packets and the streams.
type tunnelConfig struct {
	block          kcp.BlockCrypt // nil for the null cipher
	mode           kcpMode
	mtu            int
	sndwnd, rcvwnd int
	dshard, pshard int
	streamMode     bool
	keepalive      time.Duration
}

// kcpMode is one row of the table of modes.
type kcpMode struct {
	nodelay, interval, resend, nc int
	writeDelay, ackNoDelay        bool
}

var kcpModes = map[string]kcpMode{
	"normal": {0, 40, 2, 1, true, false},
	"fast":   {0, 30, 2, 1, true, false},
	"fast2":  {1, 20, 2, 1, false, true},
	"fast3":  {1, 10, 2, 1, false, true},
}

// ciphers has the key length and the constructor of every cipher except null.
var ciphers = map[string]struct {
	keyLen int
	make   func([]byte) (kcp.BlockCrypt, error)
}{
	"aes":         {32, kcp.NewAESBlockCrypt},
	"aes-128":     {16, kcp.NewAESBlockCrypt},
	"aes-192":     {24, kcp.NewAESBlockCrypt},
	"aes-128-gcm": {16, kcp.NewAESGCMCrypt},
	"salsa20":     {32, kcp.NewSalsa20BlockCrypt},
	"blowfish":    {32, kcp.NewBlowfishBlockCrypt},
	"twofish":     {32, kcp.NewTwofishBlockCrypt},
	"cast5":       {16, kcp.NewCast5BlockCrypt},
	"3des":        {24, kcp.NewTripleDESBlockCrypt},
	"tea":         {16, kcp.NewTEABlockCrypt},
	"xtea":        {16, kcp.NewXTEABlockCrypt},
	"xor":         {32, kcp.NewSimpleXORBlockCrypt},
	"sm4":         {16, kcp.NewSM4BlockCrypt},
	"none":        {0, kcp.NewNoneBlockCrypt},
}

// newBlock makes the cipher called name. The text of the key is used as it is, also if it looks like hex.
func newBlock(name, key string) (kcp.BlockCrypt, error) {
	if name == "null" {
		return nil, nil
	}
	c, ok := ciphers[name]
	if !ok {
		return nil, fmt.Errorf("unknown block %q", name)
	}
	if c.keyLen == 0 {
		return c.make(nil)
	}
	if key == "" {
		return nil, fmt.Errorf("block %s needs -key", name)
	}
	derived, err := pbkdf2.Key(sha256.New, key, []byte("paqet"), 100000, 32)
	if err != nil {
		return nil, err
	}
	return c.make(derived[:c.keyLen])
}

// defaultWindows are those of the originals.
func defaultWindows(f *family, server bool) (snd, rcv int) {
	switch {
	case f.name == "a":
		n := min(max(2048*runtime.NumCPU(), 1024), 32768)
		return n, n
	case server:
		return 1024, 1024
	default:
		return 128, 512
	}
}

// tune applies the configuration to a new KCP session.
func (t *tunnelConfig) tune(s *kcp.UDPSession) {
	s.SetStreamMode(t.streamMode)
	s.SetNoDelay(t.mode.nodelay, t.mode.interval, t.mode.resend, t.mode.nc)
	s.SetWriteDelay(t.mode.writeDelay)
	s.SetACKNoDelay(t.mode.ackNoDelay)
	s.SetWindowSize(t.sndwnd, t.rcvwnd)
	s.SetMtu(t.mtu)
}

// smux is the same in both families, up to the number of cores.
func (t *tunnelConfig) smux() *smux.Config {
	return &smux.Config{
		Version:           2,
		KeepAliveInterval: t.keepalive,
		KeepAliveTimeout:  4 * t.keepalive,
		MaxFrameSize:      65535,
		MaxReceiveBuffer:  4 << 20,
		MaxStreamBuffer:   2 << 20,
	}
}
