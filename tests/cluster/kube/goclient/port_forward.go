package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/httpstream"
	restclient "k8s.io/client-go/rest"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/transport/spdy"
)

// connectionDeadline is for one connection, from its opening to its last byte.
const connectionDeadline = 60 * time.Second

// maxErrorBytes is what is read of an error stream.
const maxErrorBytes = 4096

// result is the line that is printed. Every connection is in one of echoed, reset and failed.
type result struct {
	Transport   string    `json:"transport"`
	Through     string    `json:"through"`
	Connections int       `json:"connections"`
	Echoed      int       `json:"echoed"`
	Reset       int       `json:"reset"`
	Failed      []failure `json:"failed"`
	Bytes       int64     `json:"bytes"`
	Ms          int64     `json:"ms"`
}

type failure struct {
	Connection int    `json:"connection"`
	Port       int    `json:"port"`
	Error      string `json:"error"`
}

// forwarded is one connection to a port of the pod.
type forwarded interface {
	io.ReadWriter
	// Reset ends it at once, in both directions.
	Reset() error
	Close() error
}

// opener opens connection number n to a port of the pod.
type opener func(n int, port int) (forwarded, error)

// runPortForward opens all connections at once; each echoes, and some are reset half-way. No other may notice.
func runPortForward(config *restclient.Config, o options) error {
	dialer, err := newDialer(config, o)
	if err != nil {
		return err
	}
	through := throughForwarder
	if o.through == "dialer" {
		through = throughDialer
	}
	open, closeAll, err := through(dialer, o)
	if err != nil {
		return err
	}
	defer closeAll()

	said := connectAll(open, o)
	line, err := json.Marshal(said)
	if err != nil {
		return err
	}
	fmt.Println(string(line))
	if len(said.Failed) > 0 {
		return fmt.Errorf("%d of %d connections failed", len(said.Failed), o.connections)
	}
	return nil
}

func connectAll(open opener, o options) result {
	said := result{Transport: o.transport, Through: o.through, Connections: o.connections, Failed: []failure{}}
	random := rand.New(rand.NewSource(o.seed))
	resetAfter := make([]int, o.connections) // bytes; 0 is never
	for _, n := range random.Perm(o.connections)[:o.resets] {
		resetAfter[n] = 1 + random.Intn(o.bytes)
	}

	startedAt := time.Now()
	var all sync.WaitGroup
	var lock sync.Mutex
	for n := range o.connections {
		all.Add(1)
		go func() {
			defer all.Done()
			port := o.ports[n%len(o.ports)]
			err := connect(open, n, port, o, resetAfter[n])
			lock.Lock()
			defer lock.Unlock()
			switch {
			case err != nil:
				said.Failed = append(said.Failed, failure{Connection: n, Port: port, Error: err.Error()})
			case resetAfter[n] > 0:
				said.Reset++
			default:
				said.Echoed++
				said.Bytes += int64(o.bytes)
			}
		}()
	}
	all.Wait()
	said.Ms = time.Since(startedAt).Milliseconds()
	return said
}

func connect(open opener, n int, port int, o options, resetAfter int) error {
	connection, err := open(n, port)
	if err != nil {
		return err
	}
	defer connection.Close()
	late := time.AfterFunc(connectionDeadline, func() { connection.Reset() })
	defer late.Stop()

	bytes := make([]byte, o.bytes)
	rand.New(rand.NewSource(o.seed + int64(n))).Read(bytes)
	if resetAfter > 0 {
		return writeAndReset(connection, bytes[:resetAfter])
	}
	return echo(connection, bytes)
}

// writeAndReset reads too, so that the reset comes while bytes are on their way in both directions.
func writeAndReset(connection forwarded, bytes []byte) error {
	go io.Copy(io.Discard, connection)
	if _, err := connection.Write(bytes); err != nil {
		return fmt.Errorf("writing before the reset: %w", err)
	}
	return connection.Reset()
}

// echo ends neither direction before all has come back: a container runtime may cut what is left of the other.
func echo(connection forwarded, sent []byte) error {
	written := make(chan error, 1)
	go func() {
		_, err := connection.Write(sent)
		written <- err
	}()
	hash := sha256.New()
	count, err := io.CopyN(hash, connection, int64(len(sent)))
	if err != nil {
		return fmt.Errorf("read %d of %d bytes: %w", count, len(sent), err)
	}
	if err := <-written; err != nil {
		return fmt.Errorf("writing: %w", err)
	}
	if want := sha256.Sum256(sent); !bytes.Equal(hash.Sum(nil), want[:]) {
		return errors.New("other bytes came back than were sent")
	}
	return nil
}

func newDialer(config *restclient.Config, o options) (httpstream.Dialer, error) {
	address, err := podURL(config, o, "portforward", nil)
	if err != nil {
		return nil, err
	}
	if o.transport == websocketTransport {
		return portforward.NewSPDYOverWebsocketDialer(address, config)
	}
	transport, upgrader, err := spdy.RoundTripperFor(config)
	if err != nil {
		return nil, err
	}
	return spdy.NewDialer(upgrader, &http.Client{Transport: transport}, http.MethodPost, address), nil
}

// throughForwarder is how programs use client-go: it listens on a local port for each of the pod's.
func throughForwarder(dialer httpstream.Dialer, o options) (opener, func(), error) {
	var specifications []string
	for _, port := range o.ports {
		specifications = append(specifications, fmt.Sprintf("0:%d", port))
	}
	stop, ready, ended := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	forwarder, err := portforward.NewOnAddresses(dialer, []string{"127.0.0.1"}, specifications, stop, ready, io.Discard, os.Stderr)
	if err != nil {
		return nil, nil, err
	}
	go func() { ended <- forwarder.ForwardPorts() }()
	select {
	case err := <-ended:
		return nil, nil, err
	case <-ready:
	}
	listening, err := forwarder.GetPorts()
	if err != nil {
		return nil, nil, err
	}
	local := map[int]uint16{}
	for _, pair := range listening {
		local[int(pair.Remote)] = pair.Local
	}
	open := func(_ int, port int) (forwarded, error) {
		connection, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", local[port]))
		if err != nil {
			return nil, err
		}
		return localConnection{connection.(*net.TCPConn)}, nil
	}
	return open, func() { close(stop) }, nil
}

type localConnection struct{ *net.TCPConn }

func (c localConnection) Reset() error {
	if err := c.SetLinger(0); err != nil {
		return err
	}
	return c.Close()
}

// throughDialer opens the pairs of streams by hand, so that a reset is one of the stream itself.
func throughDialer(dialer httpstream.Dialer, o options) (opener, func(), error) {
	upgraded, protocol, err := dialer.Dial(portforward.PortForwardProtocolV1Name)
	if err != nil {
		return nil, nil, err
	}
	if protocol != portforward.PortForwardProtocolV1Name {
		return nil, nil, fmt.Errorf("the server speaks %q", protocol)
	}
	open := func(n int, port int) (forwarded, error) {
		headers := http.Header{}
		headers.Set(corev1.PortHeader, strconv.Itoa(port))
		headers.Set(corev1.PortForwardRequestIDHeader, strconv.Itoa(n))
		headers.Set(corev1.StreamType, corev1.StreamTypeError)
		failures, err := upgraded.CreateStream(headers)
		if err != nil {
			return nil, err
		}
		failures.Close() // nothing is ever written on it
		headers.Set(corev1.StreamType, corev1.StreamTypeData)
		data, err := upgraded.CreateStream(headers)
		if err != nil {
			return nil, err
		}
		return streamPair{data, failures, upgraded}, nil
	}
	return open, func() { upgraded.Close() }, nil
}

type streamPair struct {
	httpstream.Stream
	errors     httpstream.Stream
	connection httpstream.Connection
}

// Read gives what the server said on the error stream in place of an early end.
func (p streamPair) Read(into []byte) (int, error) {
	count, err := p.Stream.Read(into)
	if err != io.EOF {
		return count, err
	}
	said, failed := io.ReadAll(io.LimitReader(p.errors, maxErrorBytes))
	if failed != nil || len(said) == 0 {
		return count, io.EOF
	}
	return count, errors.New(string(said))
}

func (p streamPair) Reset() error {
	p.errors.Reset()
	return p.Stream.Reset()
}

func (p streamPair) Close() error {
	err := p.Stream.Close()
	p.connection.RemoveStreams(p.Stream, p.errors)
	return err
}
