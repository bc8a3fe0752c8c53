//go:build !unix

package demo

import "errors"

// CanPause says whether processes can be paused here.
const CanPause = false

// Pause is an error here.
func (p *Process) Pause() error { return errors.ErrUnsupported }

// Resume is an error here.
func (p *Process) Resume() error { return errors.ErrUnsupported }
