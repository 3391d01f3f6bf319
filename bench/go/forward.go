package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/httpstream"
	"k8s.io/client-go/tools/portforward"
)

// forwarded is what forward says, beside what was transferred.
type forwarded struct {
	transferred
	// OpenMs is how long it took to open all connections, one after the other.
	OpenMs float64 `json:"openMs"`
}

// runForward opens a session and its connections, lets all of them run at once, and keeps them until the last is done.
func runForward(o options) error {
	config, err := clientConfig(o)
	if err != nil {
		return err
	}
	dialer, err := forwardDialer(o, config)
	if err != nil {
		return err
	}
	session, protocol, err := dialer.Dial(portforward.PortForwardProtocolV1Name)
	if err != nil {
		return err
	}
	defer session.Close()
	if protocol != portforward.PortForwardProtocolV1Name {
		return fmt.Errorf("the server speaks %q", protocol)
	}
	run, port := runners[o.direction].run, runners[o.direction].port
	if run == nil {
		return fmt.Errorf("no such direction: %q", o.direction)
	}
	since := time.Now()
	var streams []httpstream.Stream
	for n := range o.connections {
		stream, err := connect(session, n, port)
		if err != nil {
			return err
		}
		streams = append(streams, stream)
	}
	opened := time.Now()
	failures := make([]error, len(streams))
	var all sync.WaitGroup
	for n, stream := range streams {
		all.Add(1)
		go func() {
			defer all.Done()
			failures[n] = run(stream, o.bytes)
		}()
	}
	all.Wait()
	if err := errors.Join(failures...); err != nil {
		return err
	}
	return say(forwarded{
		transferred: transferred{Bytes: o.bytes * int64(o.connections), Seconds: time.Since(opened).Seconds()},
		OpenMs:      float64(opened.Sub(since).Microseconds()) / 1e3,
	})
}

// connect opens the two streams of a connection, as client-go's own forwarder does.
func connect(session httpstream.Connection, n int, port int) (httpstream.Stream, error) {
	headers := http.Header{}
	headers.Set(corev1.PortHeader, strconv.Itoa(port))
	headers.Set(corev1.PortForwardRequestIDHeader, strconv.Itoa(n))
	headers.Set(corev1.StreamType, corev1.StreamTypeError)
	failures, err := session.CreateStream(headers)
	if err != nil {
		return nil, err
	}
	failures.Close() // nothing is ever written on it
	headers.Set(corev1.StreamType, corev1.StreamTypeData)
	return session.CreateStream(headers)
}

var runners = map[string]struct {
	port int
	run  func(stream httpstream.Stream, bytes int64) error
}{
	"source": {sourcePort, takeAll},
	"sink":   {sinkPort, giveAll},
	"echo":   {echoPort, exchange},
}

func takeAll(stream httpstream.Stream, bytes int64) error {
	if err := sayCount(stream, bytes); err != nil {
		return err
	}
	_, err := io.CopyN(discard{}, stream, bytes)
	return err
}

func giveAll(stream httpstream.Stream, bytes int64) error {
	if err := sayCount(stream, bytes); err != nil {
		return err
	}
	if err := produce(stream, bytes, "letters"); err != nil {
		return err
	}
	_, err := io.ReadFull(stream, make([]byte, 1))
	return err
}

func exchange(stream httpstream.Stream, bytes int64) error {
	sent := make(chan error, 1)
	go func() { sent <- produce(stream, bytes, "letters") }()
	if _, err := io.CopyN(discard{}, stream, bytes); err != nil {
		return err
	}
	return <-sent
}

func sayCount(stream io.Writer, bytes int64) error {
	_, err := stream.Write(binary.BigEndian.AppendUint64(nil, uint64(bytes)))
	return err
}
