package main

import (
	"net/http"
	"net/url"
	"strings"

	"k8s.io/apimachinery/pkg/util/httpstream"
	remotecommandconsts "k8s.io/apimachinery/pkg/util/remotecommand"
	restclient "k8s.io/client-go/rest"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/client-go/transport/spdy"
)

const (
	spdyTransport      = "spdy"
	websocketTransport = "websocket"
)

// The one pod that sessions go to, and its container.
const (
	namespace     = "bench"
	podName       = "worker"
	containerName = "main"
)

// newExecutor is client-go's, as its users have it; a kubelet speaks no v5 over WebSocket, hence v4 after it.
func newExecutor(o options, config *restclient.Config, hasStdin bool, command ...string) (remotecommand.Executor, error) {
	address, err := execURL(o, hasStdin, command)
	if err != nil {
		return nil, err
	}
	if o.transport == websocketTransport {
		return remotecommand.NewWebSocketExecutorForProtocols(config, http.MethodGet, address.String(),
			remotecommandconsts.StreamProtocolV5Name, remotecommandconsts.StreamProtocolV4Name)
	}
	return remotecommand.NewSPDYExecutor(config, http.MethodPost, address)
}

func clientConfig(o options) (*restclient.Config, error) {
	token, err := readToken(o.tokenFile)
	if err != nil {
		return nil, err
	}
	return &restclient.Config{
		Host:            o.url,
		BearerToken:     token,
		TLSClientConfig: restclient.TLSClientConfig{CAFile: o.ca},
		QPS:             -1,
	}, nil
}

func execURL(o options, hasStdin bool, command []string) (*url.URL, error) {
	query := url.Values{"command": command}
	if o.kubelet {
		query.Set("output", "1")
		if hasStdin {
			query.Set("input", "1")
		}
		return parseURL(o, []string{"exec", namespace, podName, containerName}, query)
	}
	query.Set("container", containerName)
	query.Set("stdout", "true")
	if hasStdin {
		query.Set("stdin", "true")
	}
	return parseURL(o, []string{"api/v1/namespaces", namespace, "pods", podName, "exec"}, query)
}

func forwardDialer(o options, config *restclient.Config) (httpstream.Dialer, error) {
	path := []string{"api/v1/namespaces", namespace, "pods", podName, "portforward"}
	if o.kubelet {
		path = []string{"portForward", namespace, podName}
	}
	address, err := parseURL(o, path, nil)
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

func parseURL(o options, path []string, query url.Values) (*url.URL, error) {
	address, err := url.Parse(o.url)
	if err != nil {
		return nil, err
	}
	address.Path = "/" + strings.Join(path, "/")
	address.RawQuery = query.Encode()
	return address, nil
}
