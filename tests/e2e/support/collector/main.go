// An OpenTelemetry collector that receives logs and traces over OTLP and writes them to files, a request a line: for tests.
package main

import (
	"context"
	"log"
	"os"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/confmap/provider/yamlprovider"
	"go.opentelemetry.io/collector/exporter"
	"go.opentelemetry.io/collector/exporter/exporterhelper"
	"go.opentelemetry.io/collector/otelcol"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/receiver"
	"go.opentelemetry.io/collector/receiver/otlpreceiver"
	"go.opentelemetry.io/collector/service/telemetry"
)

func main() {
	settings := otelcol.CollectorSettings{
		BuildInfo: component.BuildInfo{Command: "collector", Version: "test"},
		Factories: factories,
		ConfigProviderSettings: otelcol.ConfigProviderSettings{
			ResolverSettings: confmap.ResolverSettings{
				DefaultScheme:     "yaml",
				ProviderFactories: []confmap.ProviderFactory{yamlprovider.NewFactory()},
			},
		},
	}
	if err := otelcol.NewCommand(settings).Execute(); err != nil {
		log.Fatal(err)
	}
}

func factories() (otelcol.Factories, error) {
	receivers, err := otelcol.MakeFactoryMap[receiver.Factory](otlpreceiver.NewFactory())
	if err != nil {
		return otelcol.Factories{}, err
	}
	exporters, err := otelcol.MakeFactoryMap[exporter.Factory](fileFactory())
	// What it would tell of itself, nobody asks.
	silent := telemetry.NewFactory(func() component.Config { return &struct{}{} })
	return otelcol.Factories{Receivers: receivers, Exporters: exporters, Telemetry: silent}, err
}

type fileConfig struct {
	Path string `mapstructure:"path"`
}

func fileFactory() exporter.Factory {
	return exporter.NewFactory(
		component.MustNewType("file"),
		func() component.Config { return &fileConfig{} },
		exporter.WithLogs(newLogFile, component.StabilityLevelDevelopment),
		exporter.WithTraces(newTraceFile, component.StabilityLevelDevelopment),
	)
}

func newLogFile(ctx context.Context, set exporter.Settings, config component.Config) (exporter.Logs, error) {
	write, err := appendTo(config)
	if err != nil {
		return nil, err
	}
	marshaler := &plog.JSONMarshaler{}
	return exporterhelper.NewLogs(ctx, set, config, func(_ context.Context, logs plog.Logs) error {
		return write(marshaler.MarshalLogs(logs))
	})
}

func newTraceFile(ctx context.Context, set exporter.Settings, config component.Config) (exporter.Traces, error) {
	write, err := appendTo(config)
	if err != nil {
		return nil, err
	}
	marshaler := &ptrace.JSONMarshaler{}
	return exporterhelper.NewTraces(ctx, set, config, func(_ context.Context, traces ptrace.Traces) error {
		return write(marshaler.MarshalTraces(traces))
	})
}

// appendTo opens the file, and returns what writes a line to it that was made, or says why it was not.
func appendTo(config component.Config) (func(line []byte, err error) error, error) {
	file, err := os.OpenFile(config.(*fileConfig).Path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	return func(line []byte, err error) error {
		if err == nil {
			_, err = file.Write(append(line, '\n'))
		}
		return err
	}, nil
}
