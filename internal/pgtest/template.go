package pgtest

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// templateForm changes when what initialise makes changes, so that templates in
// the cache made by older code are not used.
const templateForm = "1"

// fill gives the server its data directory: a copy of the template in the cache
// (1,300 files, 0.2 s), or, the first time, one made by initdb (2 s), which becomes the
// template. It returns the superuser's password in it.
func (s *Server) fill(ctx context.Context, o Options) (string, error) {
	cache, err := cacheFolder()
	if err != nil {
		return "", err
	}
	id := sha256.Sum256([]byte(strings.Join([]string{templateForm, s.in.root, s.in.bin, s.in.version, s.vector}, "\n")))
	template := filepath.Join(cache, "template-"+s.in.version+"-"+hex.EncodeToString(id[:6]))
	if password, err := s.copyTemplate(template); err == nil {
		return password, nil
	}
	var password string
	err = locked(ctx, o, template+".lock", func(*os.File) error {
		if password, err = s.copyTemplate(template); err == nil {
			return nil // made by another process while we waited
		}
		o.logf("preparing a data directory for PostgreSQL %s", s.in.version)
		if password, err = s.initialise(ctx); err != nil {
			return err
		}
		return s.saveTemplate(template, password)
	})
	return password, err
}

func (s *Server) copyTemplate(template string) (string, error) {
	password, err := os.ReadFile(filepath.Join(template, "password"))
	if err != nil {
		return "", err
	}
	if err := os.RemoveAll(s.data); err != nil {
		return "", err
	}
	return string(password), copyTree(filepath.Join(template, "data"), s.data, s.who)
}

// saveTemplate puts the data directory into the cache in one step.
func (s *Server) saveTemplate(template, password string) error {
	partial := template + ".partial" // ours alone: the lock is held
	if err := os.RemoveAll(partial); err != nil {
		return fmt.Errorf("pgtest: %w", err)
	}
	if err := os.Mkdir(partial, 0o700); err != nil {
		return fmt.Errorf("pgtest: %w", err)
	}
	if err := copyTree(s.data, filepath.Join(partial, "data"), account{}); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(partial, "password"), []byte(password), 0o600); err != nil {
		return fmt.Errorf("pgtest: %w", err)
	}
	if err := os.RemoveAll(template); err != nil { // one that could not be copied
		return fmt.Errorf("pgtest: %w", err)
	}
	return os.Rename(partial, template)
}

// initialise makes the data directory: initdb, then the database and the
// extension in single-user mode, which needs neither port nor password.
func (s *Server) initialise(ctx context.Context) (string, error) {
	if err := os.RemoveAll(s.data); err != nil {
		return "", fmt.Errorf("pgtest: %w", err)
	}
	password, err := newPassword()
	if err != nil {
		return "", err
	}
	file := filepath.Join(s.dir, "password")
	if err := os.WriteFile(file, []byte(password+"\n"), 0o600); err != nil {
		return "", fmt.Errorf("pgtest: %w", err)
	}
	defer os.Remove(file)
	if err := s.who.own(file); err != nil {
		return "", fmt.Errorf("pgtest: %w", err)
	}
	err = s.run(ctx, "", "initdb", "-D", s.inside("data"), "-U", superuser, "--pwfile", s.inside("password"),
		"--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions")
	if err != nil {
		return "", err
	}
	single := []string{"--single", "-D", s.inside("data"), "-c", "fsync=off", "-c", "dynamic_shared_memory_type=mmap"}
	if err := s.run(ctx, "CREATE DATABASE "+database+"\n", "postgres", append(single, "postgres")...); err != nil {
		return "", err
	}
	if s.vector != "" {
		if err := s.run(ctx, "CREATE EXTENSION vector\n", "postgres", append(single, database)...); err != nil {
			return "", err
		}
	}
	return password, nil
}

// run runs one of the programs to its end. Single-user mode reports a failed
// statement in its output only.
func (s *Server) run(ctx context.Context, input, program string, args ...string) error {
	cmd := s.in.command(ctx, s.who, s.inside(""), program, args...)
	cmd.Stdin = strings.NewReader(input)
	out, err := cmd.CombinedOutput()
	if err == nil && (strings.Contains(string(out), "ERROR:") || strings.Contains(string(out), "FATAL:")) {
		err = fmt.Errorf("statement failed: %s", strings.TrimSpace(input))
	}
	if err != nil {
		return fmt.Errorf("pgtest: %s of PostgreSQL %s: %w\n%s", program, s.in.version, err, tail(string(out)))
	}
	return nil
}

// newPassword returns 128 random bits in hexadecimal.
func newPassword() (string, error) {
	b := make([]byte, 16)
	if _, err := rand.Read(b); err != nil {
		return "", fmt.Errorf("pgtest: %w", err)
	}
	return hex.EncodeToString(b), nil
}

// copyTree copies the directory from to the new directory to and gives it to who.
func copyTree(from, to string, who account) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, rel)
		switch {
		case d.IsDir():
			err = os.Mkdir(target, 0o700)
		case d.Type().IsRegular():
			err = copyFile(path, target)
		default:
			err = fmt.Errorf("pgtest: %s is neither file nor directory", path)
		}
		if err != nil {
			return err
		}
		return who.own(target)
	})
}

func copyFile(from, to string) error {
	content, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, content, 0o600)
}
