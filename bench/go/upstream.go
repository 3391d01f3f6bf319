package main

import (
	"context"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"
	remotecommandconsts "k8s.io/apimachinery/pkg/util/remotecommand"
	clientremotecommand "k8s.io/client-go/tools/remotecommand"
	"k8s.io/kubelet/pkg/cri/streaming/portforward"
	"k8s.io/kubelet/pkg/cri/streaming/remotecommand"
)

// idleTimeout and creationTimeout are the kubelet's defaults.
const (
	idleTimeout     = 4 * time.Hour
	creationTimeout = 30 * time.Second
)

// serveUpstream listens on a port of its own choice, and says which. It lets in who shows a certificate of the authority,
// as an API server does, or the token.
func serveUpstream(o options) error {
	pair, err := tls.LoadX509KeyPair(o.cert, o.key)
	if err != nil {
		return err
	}
	authorities, err := readAuthorities(o.ca)
	if err != nil {
		return err
	}
	token, err := readToken(o.tokenFile)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	routes := http.NewServeMux()
	routes.HandleFunc("/exec/", serveExec)
	routes.HandleFunc("/attach/", serveAttach)
	routes.HandleFunc("/portForward/", servePortForward)
	server := &http.Server{
		Handler:           authenticated(token, routes),
		ReadHeaderTimeout: 30 * time.Second,
		TLSConfig: &tls.Config{
			Certificates: []tls.Certificate{pair},
			ClientAuth:   tls.VerifyClientCertIfGiven,
			ClientCAs:    authorities,
			NextProtos:   []string{"http/1.1"},
		},
		TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){},
		ErrorLog:     log.New(io.Discard, "", 0),
	}
	if err := say(map[string]int{"port": listener.Addr().(*net.TCPAddr).Port}); err != nil {
		return err
	}
	return server.ServeTLS(listener, "", "")
}

func authenticated(token string, next http.Handler) http.Handler {
	want := []byte("Bearer " + token)
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		shown := []byte(req.Header.Get("Authorization"))
		if len(req.TLS.VerifiedChains) == 0 && subtle.ConstantTimeCompare(shown, want) != 1 {
			http.Error(w, "Unauthorized", http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, req)
	})
}

func serveExec(w http.ResponseWriter, req *http.Request) {
	streams, err := remotecommand.NewOptions(req)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	remotecommand.ServeExec(w, req, container{}, "", "", "", req.Form["command"], streams,
		idleTimeout, creationTimeout, remotecommandconsts.SupportedStreamingProtocols)
}

func serveAttach(w http.ResponseWriter, req *http.Request) {
	streams, err := remotecommand.NewOptions(req)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	remotecommand.ServeAttach(w, req, container{}, "", "", "", streams,
		idleTimeout, creationTimeout, remotecommandconsts.SupportedStreamingProtocols)
}

func servePortForward(w http.ResponseWriter, req *http.Request) {
	ports, err := portforward.NewV4Options(req)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	portforward.ServePortForward(w, req, container{}, "", "", ports, idleTimeout, creationTimeout, portforward.SupportedProtocols)
}

// container runs what commands.go has: every pod is the same one.
type container struct{}

func (container) ExecInContainer(_ context.Context, _ string, _ types.UID, _ string, cmd []string, in io.Reader, out, _ io.WriteCloser,
	_ bool, _ <-chan clientremotecommand.TerminalSize, _ time.Duration) error {
	return runCommand(cmd, in, out)
}

func (container) AttachContainer(_ context.Context, _ string, _ types.UID, _ string, in io.Reader, out, _ io.WriteCloser,
	_ bool, _ <-chan clientremotecommand.TerminalSize) error {
	return runCommand([]string{"echo"}, in, out)
}

func (container) PortForward(_ context.Context, _ string, _ types.UID, port int32, stream io.ReadWriteCloser) error {
	defer stream.Close()
	return servePort(port, stream)
}

func readAuthorities(path string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	return pool, nil
}

func readToken(path string) (string, error) {
	text, err := os.ReadFile(path)
	return strings.TrimSpace(string(text)), err
}
