// Command toolbox-echo is what ports of the test pods lead to, for the tests of port-forward:
//
//	toolbox-echo SERVICE=PORT...
//
// It listens on every address, serves any number of connections at once, and ends with 1 when it cannot listen.
//
//	echo      gives back what comes, and ends when the client has ended its side
//	digest    reads "BYTES\n" and as many bytes, and answers "BYTES SHA256\n"; no end of the client's side is needed,
//	          because containerd 1.6 passes none on
//	generate  reads "BYTES\n" and answers as many bytes: blocks of 4096, each begins with its number (8 bytes, big
//	          endian), every other byte is the low byte of its place in the block
//	greet     says "PORT\n" and ends
//	hold      says nothing, and reads until the client ends
//	reset     reads one byte and resets the connection
package main

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
)

const blockBytes = 4096

var services = map[string]func(*net.TCPConn) error{
	"echo":     echo,
	"digest":   digest,
	"generate": generate,
	"greet":    greet,
	"hold":     hold,
	"reset":    reset,
}

func main() {
	if err := listen(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	select {}
}

func listen(words []string) error {
	if len(words) == 0 {
		return fmt.Errorf("usage: toolbox-echo SERVICE=PORT...")
	}
	for _, word := range words {
		name, port, _ := strings.Cut(word, "=")
		serve := services[name]
		if serve == nil {
			return fmt.Errorf("there is no service %q", name)
		}
		listener, err := net.Listen("tcp", ":"+port)
		if err != nil {
			return err
		}
		go accept(listener, serve)
	}
	return nil
}

func accept(listener net.Listener, serve func(*net.TCPConn) error) {
	for {
		connection, err := listener.Accept()
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		go func() {
			defer connection.Close()
			if err := serve(connection.(*net.TCPConn)); err != nil {
				fmt.Fprintln(os.Stderr, err) // the pod's log; a client that went away is no fault
			}
		}()
	}
}

func echo(connection *net.TCPConn) error {
	_, err := io.Copy(connection, connection)
	return err
}

func digest(connection *net.TCPConn) error {
	reader := bufio.NewReader(connection)
	count, err := readCount(reader)
	if err != nil {
		return err
	}
	hash := sha256.New()
	if _, err := io.CopyN(hash, reader, count); err != nil {
		return err
	}
	_, err = fmt.Fprintf(connection, "%d %x\n", count, hash.Sum(nil))
	return err
}

func generate(connection *net.TCPConn) error {
	left, err := readCount(bufio.NewReader(connection))
	if err != nil {
		return err
	}
	block := make([]byte, blockBytes)
	for place := range block {
		block[place] = byte(place)
	}
	for number := uint64(0); left > 0; number++ {
		binary.BigEndian.PutUint64(block, number)
		written, err := connection.Write(block[:min(left, blockBytes)])
		if err != nil {
			return err
		}
		left -= int64(written)
	}
	return nil
}

func readCount(reader *bufio.Reader) (int64, error) {
	line, err := reader.ReadString('\n')
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(strings.TrimSpace(line), 10, 64)
}

func greet(connection *net.TCPConn) error {
	_, err := fmt.Fprintln(connection, connection.LocalAddr().(*net.TCPAddr).Port)
	return err
}

func hold(connection *net.TCPConn) error {
	_, err := io.Copy(io.Discard, connection)
	return err
}

func reset(connection *net.TCPConn) error {
	if _, err := connection.Read(make([]byte, 1)); err != nil {
		return err
	}
	return connection.SetLinger(0) // the close that follows is a reset
}
