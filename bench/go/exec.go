package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	restclient "k8s.io/client-go/rest"
	"k8s.io/client-go/tools/remotecommand"
)

// transferred is what stdout, stdin and forward say.
type transferred struct {
	Bytes   int64   `json:"bytes"`
	Seconds float64 `json:"seconds"`
}

// runStdout takes so many bytes of output. The clock runs from the first of them.
func runStdout(o options) error {
	return transfer(o, nil, "source", strconv.FormatInt(o.bytes, 10), o.content)
}

// runStdin gives so many bytes. The clock runs from the first that is taken to the answer to the last.
func runStdin(o options) error {
	return transfer(o, &bulk{left: o.bytes, piece: makePieces(o.content)[0], more: make(chan struct{})},
		"sink", strconv.FormatInt(o.bytes, 10))
}

func transfer(o options, in *bulk, command ...string) error {
	config, err := clientConfig(o)
	if err != nil {
		return err
	}
	executor, err := newExecutor(o, config, in != nil, command...)
	if err != nil {
		return err
	}
	out := &counter{}
	streams := remotecommand.StreamOptions{Stdout: out}
	if in != nil {
		streams.Stdin = in
		out.seen = func(int64) { close(in.more) }
	}
	if err := executor.StreamWithContext(context.Background(), streams); err != nil {
		return err
	}
	said := transferred{Bytes: out.bytes, Seconds: out.last.Sub(out.first).Seconds()}
	if in != nil {
		said = transferred{Bytes: o.bytes - in.left, Seconds: out.last.Sub(in.first).Seconds()}
	}
	if said.Bytes != o.bytes {
		return fmt.Errorf("%d of %d bytes went through", said.Bytes, o.bytes)
	}
	return say(said)
}

// bulk is a standard input of so many bytes, which ends when the answer to them is there.
type bulk struct {
	left  int64
	piece []byte
	first time.Time
	more  chan struct{}
}

func (b *bulk) Read(into []byte) (int, error) {
	if b.first.IsZero() {
		b.first = time.Now()
	}
	if b.left == 0 {
		<-b.more
		return 0, io.EOF
	}
	count := copy(into[:min(int64(len(into)), b.left)], b.piece)
	b.left -= int64(count)
	return count, nil
}

// counter is a standard output that only counts.
type counter struct {
	bytes       int64
	first, last time.Time
	seen        func(bytes int64)
}

func (c *counter) Write(p []byte) (int, error) {
	c.last = time.Now()
	if c.bytes == 0 {
		c.first = c.last
	}
	c.bytes += int64(len(p))
	if c.seen != nil {
		c.seen(c.bytes)
	}
	return len(p), nil
}

// latencies is what echo and open say, in milliseconds.
type latencies struct {
	Count   int     `json:"count"`
	P50Ms   float64 `json:"p50Ms"`
	P99Ms   float64 `json:"p99Ms"`
	Seconds float64 `json:"seconds"`
	// AtMs is when the last was done, in milliseconds since 1970.
	AtMs float64 `json:"atMs"`
}

func describe(took []time.Duration, since time.Time) latencies {
	return latencies{
		Count:   len(took),
		P50Ms:   percentileMs(took, 0.5),
		P99Ms:   percentileMs(took, 0.99),
		Seconds: time.Since(since).Seconds(),
		AtMs:    float64(time.Now().UnixMicro()) / 1e3,
	}
}

// runEcho types one key after the other, each when the one before has come back; or, of a burst, all that it brought.
func runEcho(o options) error {
	config, err := clientConfig(o)
	if err != nil {
		return err
	}
	answerBytes := 1
	if o.command == "burst" {
		answerBytes = burstPieces * burstPieceBytes
	}
	executor, err := newExecutor(o, config, true, o.command)
	if err != nil {
		return err
	}
	ctx, leave := context.WithCancel(context.Background())
	defer leave()
	keyboard, screen := make(keys), make(keys)
	ended := make(chan error, 1)
	go func() {
		ended <- executor.StreamWithContext(ctx, remotecommand.StreamOptions{Stdin: keyboard, Stdout: screen})
	}()
	var took []time.Duration
	since := time.Now()
	for round := range o.warm + o.count {
		start := time.Now()
		select {
		case keyboard <- struct{}{}:
		case err := <-ended:
			return fmt.Errorf("the session has ended: %w", err)
		}
		for range answerBytes {
			<-screen
		}
		if round >= o.warm {
			took = append(took, time.Since(start))
		}
		time.Sleep(time.Millisecond) // a person is slower still; without it, the next key warms the caches of the one before
	}
	return say(describe(took, since))
}

// keys passes one byte at a time.
type keys chan struct{}

func (k keys) Read(into []byte) (int, error) {
	<-k
	into[0] = 'a'
	return 1, nil
}

func (k keys) Write(p []byte) (int, error) {
	for range p {
		k <- struct{}{}
	}
	return len(p), nil
}

// runOpen opens sessions on connections of their own, each from the first packet to the first byte of output.
func runOpen(o options) error {
	config, err := clientConfig(o)
	if err != nil {
		return err
	}
	deadline := time.Now().Add(o.wait)
	open := func() (time.Duration, error) {
		for {
			took, err := openOnce(o, config)
			if err != nil && strings.Contains(err.Error(), syscall.ECONNREFUSED.Error()) && time.Now().Before(deadline) {
				time.Sleep(2 * time.Millisecond)
				continue
			}
			return took, err
		}
	}
	for range o.warm {
		if _, err := open(); err != nil {
			return err
		}
	}
	since := time.Now()
	took, err := concurrently(o, open)
	if err != nil {
		return err
	}
	return say(describe(took, since))
}

func openOnce(o options, config *restclient.Config) (time.Duration, error) {
	executor, err := newExecutor(o, config, false, "hello")
	if err != nil {
		return 0, err
	}
	out := &counter{}
	start := time.Now()
	if err := executor.StreamWithContext(context.Background(), remotecommand.StreamOptions{Stdout: out}); err != nil {
		return 0, err
	}
	if out.bytes != 1 {
		return 0, errors.New("the command did not say its byte")
	}
	return out.first.Sub(start), nil
}

// concurrently does a thing o.count times, o.concurrency of them at once. The first error ends it.
func concurrently(o options, do func() (time.Duration, error)) ([]time.Duration, error) {
	var lock sync.Mutex
	var all sync.WaitGroup
	var took []time.Duration
	var failed error
	left := o.count
	take := func() bool {
		lock.Lock()
		defer lock.Unlock()
		left--
		return left >= 0 && failed == nil
	}
	for range o.concurrency {
		all.Add(1)
		go func() {
			defer all.Done()
			for take() {
				one, err := do()
				lock.Lock()
				took = append(took, one)
				if err != nil && failed == nil {
					failed = err
				}
				lock.Unlock()
			}
		}()
	}
	all.Wait()
	return took, failed
}

// runHold opens sessions that do nothing, says what that took, and keeps them until its own stdin ends. Then it says how many
// were still there.
func runHold(o options) error {
	return hold(o, []string{"sleep"}, func() (io.Reader, io.Writer) { return silence{}, nil })
}

// runStall opens sessions of which one side never reads while the other sends all it can.
func runStall(o options) error {
	if o.direction == "sink" {
		piece := makePieces(o.content)[0]
		return hold(o, []string{"stop"}, func() (io.Reader, io.Writer) { return endless{piece}, nil })
	}
	return hold(o, []string{"source", "0", o.content}, func() (io.Reader, io.Writer) { return silence{}, full{} })
}

func hold(o options, command []string, ends func() (in io.Reader, out io.Writer)) error {
	config, err := clientConfig(o)
	if err != nil {
		return err
	}
	var lost lossCounter
	since := time.Now()
	took, err := concurrently(o, func() (time.Duration, error) {
		executor, err := newExecutor(o, config, true, command...)
		if err != nil {
			return 0, err
		}
		in, beyond := ends()
		start, began, ended := time.Now(), make(chan struct{}), make(chan error, 1)
		out := &firstByte{began: began, beyond: beyond}
		go func() {
			err := executor.StreamWithContext(context.Background(), remotecommand.StreamOptions{Stdin: in, Stdout: out})
			ended <- err
			lost.add()
		}()
		select {
		case <-began:
			return time.Since(start), nil
		case err := <-ended:
			return 0, fmt.Errorf("a session ended before it began: %w", err)
		}
	})
	if err != nil {
		return err
	}
	if err := say(describe(took, since)); err != nil {
		return err
	}
	untilStdinEnds()
	return say(map[string]int{"lost": lost.count()})
}

type lossCounter struct {
	lock  sync.Mutex
	times int
}

func (l *lossCounter) add() {
	l.lock.Lock()
	defer l.lock.Unlock()
	l.times++
}

func (l *lossCounter) count() int {
	l.lock.Lock()
	defer l.lock.Unlock()
	return l.times
}

// firstByte tells of the first byte; what follows goes beyond, if there is a beyond.
type firstByte struct {
	once   sync.Once
	began  chan struct{}
	beyond io.Writer
}

func (f *firstByte) Write(p []byte) (int, error) {
	f.once.Do(func() { close(f.began) })
	if f.beyond == nil {
		return len(p), nil
	}
	return f.beyond.Write(p)
}

// silence is a standard input that never says anything.
type silence struct{}

func (silence) Read([]byte) (int, error) { select {} }

// endless is a standard input without end.
type endless struct{ piece []byte }

func (e endless) Read(into []byte) (int, error) { return copy(into, e.piece), nil }

// full is a standard output that takes nothing.
type full struct{}

func (full) Write([]byte) (int, error) { select {} }
