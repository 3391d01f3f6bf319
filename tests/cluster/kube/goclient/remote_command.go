package main

import (
	"context"
	"net/url"
	"os"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	restclient "k8s.io/client-go/rest"
	"k8s.io/client-go/tools/remotecommand"
)

func runExec(config *restclient.Config, o options) error {
	return runRemoteCommand(config, o, "exec", &corev1.PodExecOptions{
		Container: o.container,
		Command:   o.argv,
		Stdin:     o.stdin,
		Stdout:    true,
		Stderr:    !o.tty,
		TTY:       o.tty,
	})
}

func runAttach(config *restclient.Config, o options) error {
	return runRemoteCommand(config, o, "attach", &corev1.PodAttachOptions{
		Container: o.container,
		Stdin:     o.stdin,
		Stdout:    true,
		Stderr:    !o.tty,
		TTY:       o.tty,
	})
}

func runRemoteCommand(config *restclient.Config, o options, subresource string, parameters runtime.Object) error {
	address, err := podURL(config, o, subresource, parameters)
	if err != nil {
		return err
	}
	executor, err := newExecutor(config, o.transport, address)
	if err != nil {
		return err
	}
	streams := remotecommand.StreamOptions{Stdout: os.Stdout, Tty: o.tty}
	if o.stdin {
		streams.Stdin = os.Stdin
	}
	if !o.tty {
		streams.Stderr = os.Stderr
	}
	return executor.StreamWithContext(context.Background(), streams)
}

func newExecutor(config *restclient.Config, transport string, address *url.URL) (remotecommand.Executor, error) {
	if transport == spdyTransport {
		return remotecommand.NewSPDYExecutor(config, "POST", address)
	}
	return remotecommand.NewWebSocketExecutor(config, "GET", address.String())
}

// podURL is the address of a pod's subresource; parameters may be nil.
func podURL(config *restclient.Config, o options, subresource string, parameters runtime.Object) (*url.URL, error) {
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	request := client.CoreV1().RESTClient().Post().
		Resource("pods").Namespace(o.namespace).Name(o.pod).SubResource(subresource)
	if parameters != nil {
		request = request.VersionedParams(parameters, scheme.ParameterCodec)
	}
	return request.URL(), nil
}
