package locktest

import (
	"bufio"
	"bytes"
	"net"

	"github.com/alicebob/miniredis/v2/proto"
	"github.com/alicebob/miniredis/v2/server"
)

// serve executes what comes through a connection, one command after another, until it ends. Faults befall it if it is
// exposed to them.
func (r *Redis) serve(c net.Conn, exposed bool) {
	peer := server.NewPeer(bufio.NewWriter(c))
	defer func() {
		_ = c.Close()
		for _, cmd := range []string{"UNSUBSCRIBE", "PUNSUBSCRIBE"} { // the embedded server's own loop would forget it
			r.commands.Dispatch(peer, []string{cmd})
		}
	}()
	in := bufio.NewReader(c)
	for !peer.Closed() {
		request, err := proto.Read(in)
		if err != nil {
			return
		}
		args, err := proto.ReadStrings(request)
		if err != nil || len(args) == 0 {
			return
		}
		var fault fault
		if exposed {
			fault = r.next(args[0])
		}
		switch fault.kind {
		case failed:
			if fault.answer == "" {
				return
			}
			peer.WriteError(fault.answer)
		case unanswered:
			if r.executed(peer, args) {
				return
			}
			r.spare(fault)
		default:
			r.commands.Dispatch(peer, args)
		}
		peer.Flush()
	}
}

// executed executes a command and keeps its answer back; but an error is answered, since it says that nothing was executed.
func (r *Redis) executed(peer *server.Peer, args []string) bool {
	var reply bytes.Buffer
	apart := server.NewPeer(bufio.NewWriter(&reply))
	apart.Ctx, apart.Resp3 = peer.Ctx, peer.Resp3
	r.commands.Dispatch(apart, args)
	apart.Flush()
	peer.Ctx = apart.Ctx // if it was the first command
	if bytes.HasPrefix(reply.Bytes(), []byte("-")) {
		peer.WriteRaw(reply.String())
		return false
	}
	return true
}
