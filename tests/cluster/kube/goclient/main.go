// Command goclient is a program that uses client-go as its documentation says, and nothing of kubectl:
//
//	goclient exec|attach [flags] [-- argv...]
//	goclient portforward [flags]
//	goclient crowd [flags]
//
// exec and attach copy stdin, stdout and stderr, and end with the command's exit code. Whatever else goes wrong is 1, and a
// sentence on standard error; a wrong command line is 2. `--tty` asks for a terminal in the container; this side stays as it is.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"

	restclient "k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	utilexec "k8s.io/client-go/util/exec"
)

const (
	spdyTransport      = "spdy"
	websocketTransport = "websocket"
)

// options is the command line of every verb.
type options struct {
	kubeconfig string
	context    string
	namespace  string
	pod        string
	container  string
	transport  string
	stdin      bool
	tty        bool
	argv       []string

	through     string
	ports       []int
	connections int
	resets      int
	seed        int64
	bytes       int
	sessions    int
}

var verbs = map[string]func(*restclient.Config, options) error{
	"exec":        runExec,
	"attach":      runAttach,
	"portforward": runPortForward,
	"crowd":       runCrowd,
}

func main() {
	if len(os.Args) < 2 || verbs[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: goclient exec|attach|portforward|crowd [flags] [-- argv...]")
		os.Exit(2)
	}
	given, err := parse(os.Args[1], os.Args[2:])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	config, err := clientConfig(given)
	if err == nil {
		err = verbs[os.Args[1]](config, given)
	}
	var exited utilexec.CodeExitError
	if errors.As(err, &exited) {
		os.Exit(exited.Code)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func parse(verb string, args []string) (options, error) {
	var o options
	var ports string
	flags := flag.NewFlagSet("goclient "+verb, flag.ContinueOnError)
	flags.StringVar(&o.kubeconfig, "kubeconfig", "", "`file` that says where the server is")
	flags.StringVar(&o.context, "context", "", "context of the kubeconfig")
	flags.StringVar(&o.namespace, "namespace", "default", "namespace of the pod")
	flags.StringVar(&o.pod, "pod", "", "name of the pod")
	flags.StringVar(&o.container, "container", "", "name of the container")
	flags.StringVar(&o.transport, "transport", websocketTransport, "spdy or websocket")
	flags.BoolVar(&o.stdin, "stdin", false, "pass standard input")
	flags.BoolVar(&o.tty, "tty", false, "ask for a terminal")
	flags.StringVar(&o.through, "through", "forwarder", "portforward: forwarder (local TCP ports) or dialer (streams by hand)")
	flags.StringVar(&ports, "ports", "", "portforward: ports of the pod that echo, separated by commas")
	flags.IntVar(&o.connections, "connections", 1, "portforward: how many at once, spread over the ports")
	flags.IntVar(&o.resets, "resets", 0, "portforward: how many of them are reset half-way")
	flags.Int64Var(&o.seed, "seed", 1, "portforward: chooses the bytes, which connections are reset, and where")
	flags.IntVar(&o.bytes, "bytes", 1<<20, "portforward: what each connection sends and must get back")
	flags.IntVar(&o.sessions, "sessions", 1, "crowd: how many sessions, of every kind in turn; --container is of the commands and attaches")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	o.argv = flags.Args()
	for _, word := range strings.FieldsFunc(ports, func(r rune) bool { return r == ',' }) {
		port, err := strconv.ParseUint(word, 10, 16)
		if err != nil {
			return o, fmt.Errorf("%q is no port", word)
		}
		o.ports = append(o.ports, int(port))
	}
	return o, o.check(verb)
}

func (o options) check(verb string) error {
	switch {
	case o.pod == "":
		return errors.New("--pod is missing")
	case o.transport != spdyTransport && o.transport != websocketTransport:
		return fmt.Errorf("--transport is spdy or websocket, and not %q", o.transport)
	case verb == "exec" && len(o.argv) == 0:
		return errors.New("there is no command after --")
	case verb == "portforward" && (len(o.ports) == 0 || o.connections < 1 || o.bytes < 1):
		return errors.New("--ports, --connections and --bytes must name at least one")
	case verb == "crowd" && (len(o.ports) == 0 || o.sessions < 1):
		return errors.New("--ports and --sessions must name at least one")
	case o.resets < 0 || o.resets > o.connections:
		return errors.New("--resets is at most --connections")
	case o.through != "forwarder" && o.through != "dialer":
		return fmt.Errorf("--through is forwarder or dialer, and not %q", o.through)
	}
	return nil
}

func clientConfig(o options) (*restclient.Config, error) {
	return clientcmd.NewNonInteractiveDeferredLoadingClientConfig(
		&clientcmd.ClientConfigLoadingRules{ExplicitPath: o.kubeconfig},
		&clientcmd.ConfigOverrides{CurrentContext: o.context},
	).ClientConfig()
}
