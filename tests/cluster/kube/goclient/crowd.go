package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/httpstream"
	restclient "k8s.io/client-go/rest"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/tools/remotecommand"
	utilexec "k8s.io/client-go/util/exec"
)

const (
	// sayEvery is how often each session says something, and is answered.
	sayEvery = time.Second
	// openAtOnce is how many sessions are opened at the same time.
	openAtOnce = 8
)

// kinds are what a crowd is made of, in turn: commands cost the node a process each, the others nearly nothing.
var kinds = []member{
	{Kind: "exec", Transport: spdyTransport},
	{Kind: "attach", Transport: websocketTransport},
	{Kind: "portforward", Transport: spdyTransport},
	{Kind: "exec", Transport: websocketTransport, TTY: true},
	{Kind: "attach", Transport: spdyTransport},
	{Kind: "portforward", Transport: websocketTransport},
	{Kind: "exec", Transport: websocketTransport},
	{Kind: "attach", Transport: websocketTransport},
	{Kind: "portforward", Transport: spdyTransport},
	{Kind: "exec", Transport: spdyTransport, TTY: true},
	{Kind: "attach", Transport: spdyTransport},
	{Kind: "portforward", Transport: websocketTransport},
}

// member is one session of a crowd: what it is, and what became of it.
type member struct {
	Kind      string `json:"kind"`
	Transport string `json:"transport"`
	TTY       bool   `json:"tty"`
	// Error is what the program that uses client-go was told; empty where the session ended as if all were well.
	Error string `json:"error"`
	// Code is the command's exit code, -1 where there is none.
	Code int `json:"code"`
	// EndedAtMs is in Unix milliseconds, 0 while it lives.
	EndedAtMs int64 `json:"endedAtMs"`

	heardAtMs atomic.Int64
}

// crowd is many sessions in one process. What it is asked by lines on standard input, it answers by lines of JSON.
//
//	alive  how many have heard something in the last three seconds
//	ended  every session that has ended, with what it was told
//	leave  ends standard input of all, closes what has none, and ends when all have ended
type crowd struct {
	lock    sync.Mutex
	members []*member
	leaving context.Context
}

// runCrowd opens sessions of every kind and holds them until it is told to leave, or standard input ends.
func runCrowd(config *restclient.Config, o options) error {
	leaving, leave := context.WithCancel(context.Background())
	c := &crowd{leaving: leaving}
	var all sync.WaitGroup
	places := make(chan struct{}, openAtOnce)
	for n := range o.sessions {
		kind := &kinds[n%len(kinds)]
		m := &member{Kind: kind.Kind, Transport: kind.Transport, TTY: kind.TTY, Code: -1}
		c.members = append(c.members, m)
		all.Add(1)
		go func() {
			defer all.Done()
			places <- struct{}{}
			var once sync.Once
			opened := func() { once.Do(func() { <-places }) }
			err := c.hold(config, o, m, opened)
			opened()
			c.end(m, err)
		}()
	}
	go func() {
		defer leave()
		c.answer(bufio.NewScanner(os.Stdin))
	}()
	all.Wait()
	<-leaving.Done() // whoever holds the crowd may still want to know how it ended
	return nil
}

func (c *crowd) answer(questions *bufio.Scanner) {
	for questions.Scan() && questions.Text() != "leave" {
		c.lock.Lock()
		var line []byte
		if questions.Text() == "alive" {
			line, _ = json.Marshal(map[string]int{"alive": c.alive()})
		} else {
			ended := []*member{}
			for _, m := range c.members {
				if m.EndedAtMs != 0 {
					ended = append(ended, m)
				}
			}
			line, _ = json.Marshal(map[string][]*member{"ended": ended})
		}
		c.lock.Unlock()
		fmt.Println(string(line))
	}
}

func (c *crowd) alive() int {
	count := 0
	since := time.Now().Add(-3 * sayEvery).UnixMilli()
	for _, m := range c.members {
		if m.EndedAtMs == 0 && m.heardAtMs.Load() >= since {
			count++
		}
	}
	return count
}

func (c *crowd) end(m *member, err error) {
	c.lock.Lock()
	defer c.lock.Unlock()
	m.EndedAtMs = time.Now().UnixMilli()
	var exited utilexec.CodeExitError
	switch {
	case errors.As(err, &exited):
		m.Code = exited.Code
		m.Error = err.Error()
	case err != nil:
		m.Error = err.Error()
	default:
		m.Code = 0
	}
}

// hold sees one session through. opened is called when it has been heard of for the first time.
func (c *crowd) hold(config *restclient.Config, o options, m *member, opened func()) error {
	heard := writerFunc(func(bytes []byte) (int, error) {
		m.heardAtMs.Store(time.Now().UnixMilli())
		opened()
		return len(bytes), nil
	})
	if m.Kind == "portforward" {
		return c.holdForward(config, o, m, heard)
	}
	o.tty = m.TTY
	stdin := &talker{leaving: c.leaving, tty: m.TTY}
	streams := remotecommand.StreamOptions{Stdout: heard, Tty: m.TTY}
	address, err := podURL(config, o, "attach", &corev1.PodAttachOptions{Container: o.container, Stdout: true})
	if m.Kind == "exec" {
		streams.Stdin = stdin
		address, err = podURL(config, o, "exec", &corev1.PodExecOptions{
			Container: o.container, Command: []string{"cat"}, Stdin: true, Stdout: true, TTY: m.TTY,
		})
	}
	if err != nil {
		return err
	}
	executor, err := newExecutor(config, m.Transport, address)
	if err != nil {
		return err
	}
	// Nothing else ends an attach to what goes on for ever.
	ctx := context.Background()
	if m.Kind == "attach" {
		ctx = c.leaving
	}
	err = executor.StreamWithContext(ctx, streams)
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// holdForward holds one connection to the first of the ports, where bytes come back.
func (c *crowd) holdForward(config *restclient.Config, o options, m *member, heard io.Writer) error {
	o.transport = m.Transport
	dialer, err := newDialer(config, o)
	if err != nil {
		return err
	}
	upgraded, _, err := dialer.Dial(portforward.PortForwardProtocolV1Name)
	if err != nil {
		return err
	}
	defer upgraded.Close()
	failures, data, err := openPair(upgraded, o.ports[0])
	if err != nil {
		return err
	}
	go io.Copy(data, &talker{leaving: c.leaving})
	copied := make(chan error, 1)
	go func() {
		_, err := io.Copy(heard, data)
		copied <- err
	}()
	select {
	case <-c.leaving.Done():
		return nil
	case err = <-copied:
	case <-upgraded.CloseChan():
		err = errors.New("lost connection to pod") // as the port forwarder of client-go says it
	}
	said := make(chan []byte, 1)
	go func() {
		text, _ := io.ReadAll(io.LimitReader(failures, maxErrorBytes))
		said <- text
	}()
	select {
	case text := <-said:
		if len(text) > 0 {
			return errors.New(string(text))
		}
	case <-time.After(time.Second):
	}
	if err == nil {
		err = errors.New("lost connection to pod")
	}
	return err
}

func openPair(upgraded httpstream.Connection, port int) (failures, data httpstream.Stream, err error) {
	headers := http.Header{}
	headers.Set(corev1.PortHeader, strconv.Itoa(port))
	headers.Set(corev1.PortForwardRequestIDHeader, "0")
	headers.Set(corev1.StreamType, corev1.StreamTypeError)
	if failures, err = upgraded.CreateStream(headers); err != nil {
		return nil, nil, err
	}
	failures.Close() // nothing is ever written on it
	headers.Set(corev1.StreamType, corev1.StreamTypeData)
	data, err = upgraded.CreateStream(headers)
	return failures, data, err
}

// talker is a standard input that says a line every now and then, until it is time to leave.
type talker struct {
	leaving context.Context
	// tty is whether Ctrl-D must be said at the end.
	tty  bool
	said int
	left bool
}

func (t *talker) Read(into []byte) (int, error) {
	if t.said > 0 {
		select {
		case <-t.leaving.Done():
			if !t.tty || t.left {
				return 0, io.EOF
			}
			t.left = true
			return copy(into, "\x04"), nil
		case <-time.After(sayEvery):
		}
	}
	t.said++
	return strings.NewReader(fmt.Sprintf("line %d\n", t.said)).Read(into)
}

type writerFunc func([]byte) (int, error)

func (w writerFunc) Write(bytes []byte) (int, error) { return w(bytes) }
