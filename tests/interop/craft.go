package main

import (
	"encoding/binary"
	"net"
	"net/netip"
)

const (
	etherLen      = 14
	etherTypeIPv4 = 0x0800
	etherTypeIPv6 = 0x86DD
	protoTCP      = 6
	dscpExpedited = 0xB8 // TOS or traffic class of every packet
	hopLimit      = 64
	maxHeaders    = etherLen + 40 + 40 // Ethernet, IPv6, TCP with the options of a SYN
)

// crafter forges whole Ethernet frames. There is no TCP state: sequence numbers, acknowledgements and
// time stamps follow from the start time t0 and a packet counter.
type crafter struct {
	srcMAC, dstMAC net.HardwareAddr
	src            netip.AddrPort
	t0             uint32 // low 32 bits of the Unix time in ms at the start
	count          uint32 // counts packets, the first is 1
}

// frame appends the next frame to buf. dst must be of the IP version of c.src.
func (c *crafter) frame(buf []byte, dst netip.AddrPort, flags flagSet, payload []byte) []byte {
	c.count++
	tcpLen := 32
	if flags&flagSYN != 0 {
		tcpLen = 40
	}
	buf = append(buf, c.dstMAC...)
	buf = append(buf, c.srcMAC...)
	if dst.Addr().Is4() {
		buf = binary.BigEndian.AppendUint16(buf, etherTypeIPv4)
		buf = c.appendIPv4(buf, dst.Addr(), tcpLen+len(payload))
	} else {
		buf = binary.BigEndian.AppendUint16(buf, etherTypeIPv6)
		buf = c.appendIPv6(buf, dst.Addr(), tcpLen+len(payload))
	}
	start := len(buf)
	buf = c.appendTCP(buf, dst.Port(), flags, tcpLen)
	buf = append(buf, payload...)

	segment := buf[start:]
	sum := pseudoHeaderSum(c.src.Addr(), dst.Addr(), len(segment))
	binary.BigEndian.PutUint16(segment[16:], foldChecksum(addWords(sum, segment)))
	return buf
}

func (c *crafter) appendIPv4(buf []byte, dst netip.Addr, n int) []byte {
	start := len(buf)
	buf = append(buf, 0x45, dscpExpedited)
	buf = binary.BigEndian.AppendUint16(buf, uint16(20+n))
	buf = append(buf, 0, 0, 0x40, 0, hopLimit, protoTCP, 0, 0) // id 0, do not fragment, checksum later
	buf = append(buf, c.src.Addr().AsSlice()...)
	buf = append(buf, dst.AsSlice()...)
	binary.BigEndian.PutUint16(buf[start+10:], foldChecksum(addWords(0, buf[start:])))
	return buf
}

func (c *crafter) appendIPv6(buf []byte, dst netip.Addr, n int) []byte {
	buf = binary.BigEndian.AppendUint32(buf, 6<<28|dscpExpedited<<20)
	buf = binary.BigEndian.AppendUint16(buf, uint16(n))
	buf = append(buf, protoTCP, hopLimit)
	buf = append(buf, c.src.Addr().AsSlice()...)
	return append(buf, dst.AsSlice()...)
}

func (c *crafter) appendTCP(buf []byte, dstPort uint16, flags flagSet, headerLen int) []byte {
	n, syn := c.count, flags&flagSYN != 0
	tsVal := c.t0 + n>>3
	var seq, ack, tsEcr uint32
	if syn {
		seq = 1 + n&7
		if flags&flagACK != 0 {
			ack = seq + 1
		}
	} else {
		seq = c.t0 + n<<7
		ack = seq - n&0x3FF + 1400
		tsEcr = tsVal - (n%200 + 50)
	}
	be := binary.BigEndian
	buf = be.AppendUint16(buf, c.src.Port())
	buf = be.AppendUint16(buf, dstPort)
	buf = be.AppendUint32(buf, seq)
	buf = be.AppendUint32(buf, ack)
	buf = append(buf, byte(headerLen/4<<4)|byte(flags>>8&1), byte(flags))
	buf = append(buf, 0xFF, 0xFF, 0, 0, 0, 0) // window 65535, checksum later, urgent pointer 0
	if syn {
		buf = append(buf, 2, 4, 0x05, 0xB4, 4, 2, 8, 10) // MSS 1460, SACK permitted, time stamps
		buf = be.AppendUint32(buf, tsVal)
		buf = be.AppendUint32(buf, tsEcr)
		return append(buf, 1, 3, 3, 8) // window scale 8
	}
	buf = append(buf, 1, 1, 8, 10)
	buf = be.AppendUint32(buf, tsVal)
	return be.AppendUint32(buf, tsEcr)
}

// parseFrame takes a captured frame apart as the original receivers do: only the source and the payload
// count, checksums and all other fields are ignored. Segments without payload are not ok.
func parseFrame(frame []byte) (src netip.AddrPort, payload []byte, ok bool) {
	if len(frame) < etherLen {
		return
	}
	var from netip.Addr
	p := frame[etherLen:]
	switch binary.BigEndian.Uint16(frame[12:]) {
	case etherTypeIPv4:
		if len(p) < 20 || p[0]>>4 != 4 || p[9] != protoTCP {
			return
		}
		head, total := int(p[0]&15)*4, int(binary.BigEndian.Uint16(p[2:]))
		if head < 20 || total < head || total > len(p) {
			return
		}
		from, p = netip.AddrFrom4([4]byte(p[12:16])), p[head:total]
	case etherTypeIPv6:
		if len(p) < 40 || p[0]>>4 != 6 || p[6] != protoTCP {
			return
		}
		n := int(binary.BigEndian.Uint16(p[4:]))
		if 40+n > len(p) {
			return
		}
		from, p = netip.AddrFrom16([16]byte(p[8:24])), p[40:40+n]
	default:
		return
	}
	if len(p) < 20 {
		return
	}
	head := int(p[12]>>4) * 4
	if head < 20 || head >= len(p) {
		return
	}
	return netip.AddrPortFrom(from, binary.BigEndian.Uint16(p)), p[head:], true
}

func pseudoHeaderSum(src, dst netip.Addr, n int) uint32 {
	sum := addWords(0, src.AsSlice())
	sum = addWords(sum, dst.AsSlice())
	return sum + protoTCP + uint32(n)
}

func addWords(sum uint32, b []byte) uint32 {
	for ; len(b) >= 2; b = b[2:] {
		sum += uint32(b[0])<<8 | uint32(b[1])
	}
	if len(b) == 1 {
		sum += uint32(b[0]) << 8
	}
	return sum
}

func foldChecksum(sum uint32) uint16 {
	for sum>>16 != 0 {
		sum = sum&0xFFFF + sum>>16
	}
	return ^uint16(sum)
}
