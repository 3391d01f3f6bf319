package main

import (
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/spf13/cobra"
)

// newRelayCommand makes `kube relay LISTEN=TARGET...`: whoever connects to LISTEN is connected to TARGET.
//
// API server and kubelet listen on one address each, and that is 127.0.0.1, where no pod can come: this lets pods in, on
// the address of their bridge.
func newRelayCommand() *cobra.Command {
	return &cobra.Command{
		Use:          "relay LISTEN=TARGET...",
		Args:         cobra.MinimumNArgs(1),
		SilenceUsage: true,
		RunE:         func(_ *cobra.Command, pairs []string) error { return relay(pairs) },
	}
}

// relay serves every pair until a listener breaks.
func relay(pairs []string) error {
	failed := make(chan error)
	for _, pair := range pairs {
		address, target, found := strings.Cut(pair, "=")
		if !found {
			return fmt.Errorf("%q is no LISTEN=TARGET", pair)
		}
		listener, err := net.Listen("tcp", address)
		if err != nil {
			return err
		}
		go func() { failed <- accept(listener, target) }()
	}
	return <-failed
}

func accept(listener net.Listener, target string) error {
	for {
		client, err := listener.Accept()
		if err != nil {
			return err
		}
		go connect(client.(*net.TCPConn), target)
	}
}

// connect passes bytes both ways, and the end of one direction on by itself: the other may go on.
func connect(client *net.TCPConn, target string) {
	defer client.Close()
	connection, err := net.Dial("tcp", target)
	if err != nil {
		return // the client sees its connection closed, much as it would see it refused
	}
	server := connection.(*net.TCPConn)
	defer server.Close()
	ended := make(chan struct{}, 2)
	pass := func(to, from *net.TCPConn) {
		if _, err := io.Copy(to, from); err != nil { // one side is gone: so is the other
			client.Close()
			server.Close()
		}
		to.CloseWrite()
		ended <- struct{}{}
	}
	go pass(server, client)
	go pass(client, server)
	<-ended
	<-ended
}
