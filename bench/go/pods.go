package main

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// createPods makes pods that nobody runs, with a few labels and variables, as pods have; o.warm is how many there are already.
func createPods(o options) error {
	config, err := clientConfig(o)
	if err != nil {
		return err
	}
	config.ContentType = "application/vnd.kubernetes.protobuf"
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	var made atomic.Int64
	made.Store(int64(o.warm))
	since := time.Now()
	took, err := concurrently(o, func() (time.Duration, error) {
		start := time.Now()
		_, err := client.CoreV1().Pods(namespace).Create(context.Background(), idlePod(made.Add(1)), metav1.CreateOptions{})
		return time.Since(start), err
	})
	if err != nil {
		return err
	}
	return say(describe(took, since))
}

func idlePod(number int64) *corev1.Pod {
	name := fmt.Sprintf("idle-%d", number)
	var environment []corev1.EnvVar
	for variable := range 8 {
		environment = append(environment, corev1.EnvVar{Name: fmt.Sprintf("VARIABLE_%d", variable), Value: "a value of an ordinary length"})
	}
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name:   name,
			Labels: map[string]string{"app.kubernetes.io/name": "idle", "app.kubernetes.io/instance": name},
		},
		Spec: corev1.PodSpec{
			NodeName:   "node1",
			Containers: []corev1.Container{{Name: containerName, Image: "registry.example/idle:1", Env: environment}},
		},
	}
}
