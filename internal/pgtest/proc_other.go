//go:build !unix

package pgtest

import (
	"errors"
	"os"
	"syscall"
)

// Throwaway servers need Unix processes: sessions, signals, a shell. Elsewhere
// the package compiles, so that the command does, and uses a server it is given.
var errUnsupported = errors.New("pgtest: a throwaway PostgreSQL needs Linux or macOS; set " + EnvDatabase + " to the connection string of a server with pgvector")

type account struct {
	uid, gid int
	change   bool
}

func supported() error                              { return errUnsupported }
func serverAccount(install) (account, error)        { return account{}, errUnsupported }
func detached(string, account) *syscall.SysProcAttr { return nil }
func (account) own(string) error                    { return errUnsupported }
func tryLock(*os.File) (bool, error)                { return false, errUnsupported }
func askToStop(int) error                           { return errUnsupported }
func crash(int, string) ([]int, error)              { return nil, errUnsupported }
func workers(string) ([]int, error)                 { return nil, errUnsupported }
func kill(int) error                                { return errUnsupported }
func alive(int) bool                                { return false }
