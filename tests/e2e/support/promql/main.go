// Answers questions in PromQL out of what /metrics said, with Prometheus's own engine.
//
// It reads one JSON document from the standard input: texts of /metrics, all of one gateway, and questions. The texts are
// taken as scrapes fifteen seconds apart, with the labels that Prometheus gives to what a pod says; the questions are asked
// for the moment of the last one. It writes one JSON document: to each question, in order, the series or the error.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"time"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/util/annotations"
)

const interval = 15 * time.Second

type input struct {
	Scrapes []string          `json:"scrapes"`
	Labels  map[string]string `json:"labels"`
	Queries []string          `json:"queries"`
}

type sample struct {
	Labels map[string]string `json:"labels"`
	// Text, because JSON has neither NaN nor infinity.
	Value string `json:"value"`
}

type answer struct {
	Error  string   `json:"error,omitempty"`
	Series []sample `json:"series"`
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	var in input
	if err := json.NewDecoder(os.Stdin).Decode(&in); err != nil {
		return err
	}
	store := memory{}
	last := time.Now().Truncate(time.Second)
	for i, text := range in.Scrapes {
		at := last.Add(-interval * time.Duration(len(in.Scrapes)-1-i))
		if err := store.add([]byte(text), in.Labels, at.UnixMilli()); err != nil {
			return fmt.Errorf("scrape %d: %w", i, err)
		}
	}

	engine := promql.NewEngine(promql.EngineOpts{
		MaxSamples: 1_000_000, Timeout: 10 * time.Second, LookbackDelta: 5 * time.Minute,
		Parser: parser.NewParser(parser.Options{}),
	})
	answers := make([]answer, len(in.Queries))
	for i, query := range in.Queries {
		answers[i] = ask(engine, store, query, last)
	}
	return json.NewEncoder(os.Stdout).Encode(answers)
}

// memory holds series by their labels; a gateway has a few hundred.
type memory map[string]*heldSeries

type heldSeries struct {
	labels  labels.Labels
	samples []chunks.Sample
}

func (store memory) add(text []byte, added map[string]string, at int64) error {
	parsing, err := textparse.New(text, "text/plain; version=0.0.4", labels.NewSymbolTable(), textparse.ParserOptions{})
	if err != nil {
		return err
	}
	for {
		entry, err := parsing.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if entry != textparse.EntrySeries {
			continue
		}
		_, _, value := parsing.Series()
		var said labels.Labels
		parsing.Labels(&said)
		builder := labels.NewBuilder(said)
		for name, value := range added {
			builder.Set(name, value)
		}
		all := builder.Labels()
		if store[all.String()] == nil {
			store[all.String()] = &heldSeries{labels: all}
		}
		series := store[all.String()]
		series.samples = append(series.samples, point{at, value})
	}
}

// Querier makes a memory what the engine can ask.
func (store memory) Querier(_, _ int64) (storage.Querier, error) {
	return &storage.MockQuerier{SelectMockFunction: func(_ bool, _ *storage.SelectHints, matchers ...*labels.Matcher) storage.SeriesSet {
		found := &found{}
		for _, series := range store {
			if matchesAll(series.labels, matchers) {
				found.rest = append(found.rest, storage.NewListSeries(series.labels, series.samples))
			}
		}
		return found
	}}, nil
}

func matchesAll(all labels.Labels, matchers []*labels.Matcher) bool {
	for _, matcher := range matchers {
		if !matcher.Matches(all.Get(matcher.Name)) {
			return false
		}
	}
	return true
}

type found struct {
	at   storage.Series
	rest []storage.Series
}

func (set *found) Next() bool {
	if len(set.rest) == 0 {
		return false
	}
	set.at, set.rest = set.rest[0], set.rest[1:]
	return true
}
func (set *found) At() storage.Series            { return set.at }
func (*found) Err() error                        { return nil }
func (*found) Warnings() annotations.Annotations { return nil }

// point is a sample of a series that is no native histogram.
type point struct {
	t int64
	f float64
}

func (p point) T() int64                    { return p.t }
func (point) ST() int64                     { return 0 }
func (p point) F() float64                  { return p.f }
func (point) H() *histogram.Histogram       { return nil }
func (point) FH() *histogram.FloatHistogram { return nil }
func (point) Type() chunkenc.ValueType      { return chunkenc.ValFloat }
func (p point) Copy() chunks.Sample         { return p }

func ask(engine *promql.Engine, store memory, query string, at time.Time) answer {
	asked, err := engine.NewInstantQuery(context.Background(), store, nil, query, at)
	if err != nil {
		return answer{Error: err.Error()}
	}
	defer asked.Close()
	result := asked.Exec(context.Background())
	if result.Err != nil {
		return answer{Error: result.Err.Error()}
	}
	series := []sample{}
	switch value := result.Value.(type) {
	case promql.Vector:
		for _, each := range value {
			series = append(series, sample{Labels: each.Metric.Map(), Value: text(each.F)})
		}
	case promql.Scalar:
		series = append(series, sample{Value: text(value.V)})
	default:
		return answer{Error: fmt.Sprintf("a %s is neither for a panel nor for an alert", value.Type())}
	}
	return answer{Series: series}
}

func text(value float64) string {
	if math.IsNaN(value) {
		return "NaN"
	}
	return fmt.Sprint(value)
}
