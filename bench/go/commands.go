package main

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"io"
	"strconv"
)

// pieceBytes is what is written at once: what io.Copy takes from a container's pipe.
const pieceBytes = 32 << 10

// runCommand is the process in the container.
//
//	source BYTES CONTENT  writes so many bytes; 0 is without end
//	sink BYTES            reads so many bytes, then says one
//	echo                  gives back what comes, as it comes
//	burst                 three pieces of ten bytes for each byte that comes, written one by one
//	hello                 says one byte and ends
//	sleep                 says one byte, and ends when stdin does
//	stop                  says one byte, and never reads
func runCommand(words []string, in io.Reader, out io.Writer) error {
	name, arguments := words[0], append(words[1:], "0", "letters")
	bytes, err := strconv.ParseInt(arguments[0], 10, 64)
	if err != nil {
		return err
	}
	switch name {
	case "source":
		return produce(out, bytes, arguments[1])
	case "sink":
		return consume(in, out, bytes)
	case "echo":
		return echo(in, out)
	case "burst":
		return burst(in, out)
	case "hello":
		return sayOne(out)
	case "sleep":
		if err := sayOne(out); err != nil {
			return err
		}
		_, err := io.Copy(io.Discard, in)
		return err
	case "stop":
		if err := sayOne(out); err != nil {
			return err
		}
		select {}
	}
	return fmt.Errorf("no such command: %q", name)
}

// The ports of every pod. A connection to sourcePort or sinkPort begins with a count of bytes, 64 bits, big endian.
const (
	sourcePort = 7001
	sinkPort   = 7002
	echoPort   = 7003
)

func servePort(port int32, stream io.ReadWriter) error {
	if port == echoPort {
		return echo(stream, stream)
	}
	var count [8]byte
	if _, err := io.ReadFull(stream, count[:]); err != nil {
		return err
	}
	bytes := int64(binary.BigEndian.Uint64(count[:]))
	switch port {
	case sourcePort:
		return produce(stream, bytes, "letters")
	case sinkPort:
		return consume(stream, stream, bytes)
	}
	return fmt.Errorf("connection refused on port %d", port)
}

func produce(out io.Writer, bytes int64, content string) error {
	pieces := makePieces(content)
	left := bytes
	for n := 0; left > 0 || bytes == 0; n++ {
		piece := pieces[n%len(pieces)]
		if bytes > 0 {
			piece = piece[:min(left, pieceBytes)]
		}
		written, err := out.Write(piece)
		if err != nil {
			return err
		}
		left -= int64(written)
	}
	return nil
}

func consume(in io.Reader, out io.Writer, bytes int64) error {
	if _, err := io.CopyN(discard{}, in, bytes); err != nil {
		return err
	}
	return sayOne(out)
}

func echo(in io.Reader, out io.Writer) error {
	buffer := make([]byte, pieceBytes)
	for {
		count, err := in.Read(buffer)
		if count > 0 {
			if _, err := out.Write(buffer[:count]); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// The pieces that a burst has for each byte, and their size: Nagle's algorithm would keep the second back until the first is
// acknowledged.
const (
	burstPieces     = 3
	burstPieceBytes = 10
)

func burst(in io.Reader, out io.Writer) error {
	key, piece := make([]byte, 1), makePieces("letters")[0][:burstPieceBytes]
	for {
		if _, err := io.ReadFull(in, key); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		for range burstPieces {
			if _, err := out.Write(piece); err != nil {
				return err
			}
		}
	}
}

func sayOne(out io.Writer) error {
	_, err := out.Write([]byte("a"))
	return err
}

// discard has no ReadFrom, unlike io.Discard, which reads 8 KiB at a time.
type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

// makePieces is what payload is made of: one letter, lines of a log, or what nobody can compress.
func makePieces(content string) [][]byte {
	const count = 32
	whole := make([]byte, 0, count*pieceBytes+256)
	switch content {
	case "log":
		for n := 0; len(whole) < count*pieceBytes; n++ {
			whole = fmt.Appendf(whole, "2026-11-21T11:%d:%d.%dZ INFO request %d path=/api/v1/items/%d status=200 ms=%d\n",
				n%60, (n*7)%60, n%1000, n, (n*7919)%10007, (n*31)%977)
		}
	case "noise":
		whole = whole[:count*pieceBytes]
		rand.Read(whole)
	default:
		whole = whole[:pieceBytes]
		for index := range whole {
			whole[index] = 'a'
		}
	}
	var pieces [][]byte
	for at := 0; at+pieceBytes <= len(whole); at += pieceBytes {
		pieces = append(pieces, whole[at:at+pieceBytes])
	}
	return pieces
}
