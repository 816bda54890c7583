package main

import (
	"io"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

var logLevels = []string{"debug", "info", "warn", "error"}

// logTime is RFC 3339 with all nine digits, so that lines sort as texts.
const logTime = "2006-01-02T15:04:05.000000000Z07:00"

// newLogger builds the logger. There is no sampling: zap's production preset
// drops repeated lines, and ours are evidence. Stack traces come only with
// errors.
func newLogger(w io.Writer, level, format string, terminal, colour bool) (*zap.Logger, error) {
	at, err := zapcore.ParseLevel(level)
	if err != nil {
		return nil, err
	}
	encoding := zapcore.EncoderConfig{
		TimeKey: "ts", LevelKey: "level", NameKey: "logger", MessageKey: "msg", StacktraceKey: "stacktrace",
		EncodeLevel: zapcore.LowercaseLevelEncoder,
		EncodeTime: func(t time.Time, enc zapcore.PrimitiveArrayEncoder) {
			enc.AppendString(t.UTC().Format(logTime))
		},
		EncodeDuration: zapcore.StringDurationEncoder,
	}
	encoder := zapcore.NewJSONEncoder(encoding)
	if format == "console" || format == "auto" && terminal {
		if colour {
			encoding.EncodeLevel = zapcore.LowercaseColorLevelEncoder
		}
		encoding.ConsoleSeparator = "  "
		encoder = zapcore.NewConsoleEncoder(encoding)
	}
	core := zapcore.NewCore(encoder, zapcore.Lock(zapcore.AddSync(w)), zap.NewAtomicLevelAt(at))
	return zap.New(core, zap.AddStacktrace(zapcore.ErrorLevel), zap.ErrorOutput(zapcore.Lock(zapcore.AddSync(w)))), nil
}
