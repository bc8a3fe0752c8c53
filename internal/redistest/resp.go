package redistest

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// The wire protocol, RESP2 and RESP3: https://redis.io/docs/latest/develop/reference/protocol-spec/
// A proxy passes on the very bytes that it read, and reads just enough of them to know what they are.

const (
	maxDepth = 64
	maxBulk  = 512 << 20 // Redis's own limit
	maxItems = 1 << 20
)

var errProtocol = errors.New("redistest: not the Redis protocol")

// frame is one value on the wire.
type frame struct {
	raw   []byte
	kind  byte     // the first byte: '+' '-' ':' '$' '*' '>' …
	items []string // of an array or push: its first elements, as far as they are strings
}

// frameItems is how many elements of a reply are kept: those of ["pmessage", pattern, channel, payload] that matter.
const frameItems = 3

// frameReader reads values off a connection.
type frameReader struct {
	*bufio.Reader
	raw []byte
}

func newFrameReader(r io.Reader) *frameReader {
	return &frameReader{Reader: bufio.NewReaderSize(r, 64<<10)}
}

// reply reads one reply or push; attributes in front of it belong to it.
func (r *frameReader) reply() (frame, error) {
	return r.frame(frameItems)
}

// command reads one command, an array of bulk strings or, as people type it, a line of words.
func (r *frameReader) command() (args []string, raw []byte, err error) {
	first, err := r.Peek(1)
	if err != nil {
		return nil, nil, err
	}
	if first[0] != '*' {
		r.raw = nil
		line, err := r.line()
		return strings.Fields(line), r.raw, err
	}
	f, err := r.frame(maxItems)
	return f.items, f.raw, err
}

func (r *frameReader) frame(keep int) (frame, error) {
	r.raw = nil
	f := frame{}
	for {
		kind, _, err := r.value(0, keep, &f.items)
		if err != nil {
			return frame{}, err
		}
		if kind != '|' {
			f.kind, f.raw = kind, r.raw
			return f, nil
		}
		f.items = nil
	}
}

// value reads one value with all that is in it. The first keep elements of an aggregate are added to items.
func (r *frameReader) value(depth, keep int, items *[]string) (kind byte, text string, err error) {
	line, err := r.line()
	if err != nil {
		return 0, "", err
	}
	if line == "" || depth > maxDepth {
		return 0, "", errProtocol
	}
	kind, text = line[0], line[1:]
	switch kind {
	case '+', '-', ':', '_', '#', ',', '(':
		return kind, text, nil
	case '$', '=', '!':
		n, err := length(text, maxBulk)
		if err != nil || n < 0 {
			return kind, "", err
		}
		text, err := r.bulk(n)
		return kind, text, err
	case '*', '~', '>', '%', '|':
		n, err := length(text, maxItems)
		if err != nil {
			return 0, "", err
		}
		if kind == '%' || kind == '|' {
			n *= 2
		}
		for i := range n {
			_, element, err := r.value(depth+1, 0, nil)
			if err != nil {
				return 0, "", noEOF(err)
			}
			if i < keep {
				*items = append(*items, element)
			}
		}
		return kind, "", nil
	default:
		return 0, "", fmt.Errorf("%w: a value begins with %q", errProtocol, kind)
	}
}

// line reads to the next CRLF and returns what stands before it.
func (r *frameReader) line() (string, error) {
	start := len(r.raw)
	for {
		part, err := r.ReadSlice('\n')
		r.raw = append(r.raw, part...)
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case err != nil && len(r.raw) > 0:
			return "", noEOF(err)
		case err != nil:
			return "", err
		}
		return strings.TrimRight(string(r.raw[start:]), "\r\n"), nil
	}
}

// bulk reads n bytes and the CRLF behind them.
func (r *frameReader) bulk(n int) (string, error) {
	start := len(r.raw)
	for left := n + 2; left > 0; { // in parts, since what follows may be less than was announced
		part := min(left, 1<<20)
		r.raw = append(r.raw, make([]byte, part)...)
		if _, err := io.ReadFull(r, r.raw[len(r.raw)-part:]); err != nil {
			return "", noEOF(err)
		}
		left -= part
	}
	return string(r.raw[start : start+n]), nil
}

// length parses the length of a bulk string or aggregate; -1 is null.
func length(text string, limit int) (int, error) {
	n, err := strconv.Atoi(text)
	if err != nil || n < -1 || n > limit {
		return 0, fmt.Errorf("%w: length %q", errProtocol, text)
	}
	return n, nil
}

// noEOF turns an end in the middle of a value into an error of its own.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
