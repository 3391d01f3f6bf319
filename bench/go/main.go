// Command peers is both ends of the benchmark: what stands behind the proxies, and what comes to them.
//
//	peers upstream --cert FILE --key FILE --ca FILE --token FILE
//	peers stdout|stdin|echo|open|hold|stall|forward [flags]
//	peers pods --count N [flags]
//
// upstream is the kubelet's own streaming server in front of processes that produce and consume at the speed of memory. The
// other verbs use client-go: each does one piece of work, and says in a line of JSON what came of it.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"sort"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/klog/v2"
)

var verbs = map[string]func(options) error{
	"upstream": serveUpstream,
	"stdout":   runStdout,
	"stdin":    runStdin,
	"echo":     runEcho,
	"open":     runOpen,
	"hold":     runHold,
	"stall":    runStall,
	"forward":  runForward,
	"pods":     createPods,
}

// options is the command line of every verb.
type options struct {
	url       string
	kubelet   bool
	ca        string
	tokenFile string
	cert, key string
	transport string

	bytes       int64
	content     string
	count       int
	concurrency int
	warm        int
	command     string
	direction   string
	connections int
	wait        time.Duration
}

func main() {
	if len(os.Args) < 2 || verbs[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: peers upstream|stdout|stdin|echo|open|hold|stall|forward|pods [flags]")
		os.Exit(2)
	}
	klog.SetLogger(logr.Discard()) // who leaves half-way is no news here
	if err := verbs[os.Args[1]](parse(os.Args[2:])); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func parse(args []string) options {
	var o options
	flags := flag.NewFlagSet("peers", flag.ExitOnError)
	flags.StringVar(&o.url, "url", "", "`URL` of the server, without a path")
	flags.BoolVar(&o.kubelet, "kubelet", false, "the server is a kubelet, or leads to one byte by byte: its paths are a kubelet's")
	flags.StringVar(&o.ca, "ca", "", "`file` with the authority of every certificate")
	flags.StringVar(&o.tokenFile, "token", "", "`file` with the bearer token to show, or to ask for")
	flags.StringVar(&o.cert, "cert", "", "`file` with the certificate of upstream")
	flags.StringVar(&o.key, "key", "", "`file` with its key")
	flags.StringVar(&o.transport, "transport", spdyTransport, "spdy or websocket; of forward, websocket is SPDY in a tunnel")
	flags.Int64Var(&o.bytes, "bytes", 1<<20, "payload of each stream")
	flags.StringVar(&o.content, "content", "letters", "letters, log or noise: what stdout is made of")
	flags.IntVar(&o.count, "count", 1, "rounds of echo, sessions of open, hold and stall, pods of pods")
	flags.IntVar(&o.concurrency, "concurrency", 1, "how many are under way at once")
	flags.IntVar(&o.warm, "warm", 0, "rounds, or sessions, before the first that counts")
	flags.StringVar(&o.command, "command", "echo", "echo or burst: what echo types to")
	flags.StringVar(&o.direction, "direction", "source", "source, sink or echo: of forward; source or sink: of stall")
	flags.IntVar(&o.connections, "connections", 1, "connections of forward, all at once")
	flags.DurationVar(&o.wait, "wait", 0, "of open: how long to try again where nobody listens yet")
	flags.Parse(args)
	return o
}

// say writes one line of JSON, which is all that is ever written to standard output.
func say(what any) error {
	return json.NewEncoder(os.Stdout).Encode(what)
}

// percentileMs is the value that share (0 to 1) of the durations do not exceed, in milliseconds.
func percentileMs(took []time.Duration, share float64) float64 {
	sorted := append([]time.Duration(nil), took...)
	sort.Slice(sorted, func(one, other int) bool { return sorted[one] < sorted[other] })
	index := int(share*float64(len(sorted))+0.999999) - 1
	return float64(sorted[max(0, index)].Nanoseconds()) / 1e6
}

// untilStdinEnds keeps what is open until whoever started this has had enough.
func untilStdinEnds() {
	buffer := make([]byte, 64)
	for {
		if _, err := os.Stdin.Read(buffer); err != nil {
			return
		}
	}
}
