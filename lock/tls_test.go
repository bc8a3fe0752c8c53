package lock_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"iter"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lockingworker/lockingworker/internal/redistest"
	"github.com/lockingworker/lockingworker/lock"
)

// An authority signs the certificates of a test's servers.
type authority struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	key := must[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der := must[[]byte](t)(x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key))
	return &authority{key, must[*x509.Certificate](t)(x509.ParseCertificate(der))}
}

func (a *authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

// server writes the files of a server on loopback: its certificate, its key, the CA.
func (a *authority) server(t testing.TB) (cert, key, ca string) {
	t.Helper()
	private := must[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	der := must[[]byte](t)(x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "redis"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, a.cert, &private.PublicKey, a.key))
	dir := t.TempDir()
	write := func(name, kind string, der []byte) string {
		file := filepath.Join(dir, name)
		wantErr(t, os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600), nil)
		return file
	}
	pkcs8 := must[[]byte](t)(x509.MarshalPKCS8PrivateKey(private))
	return write("cert.pem", "CERTIFICATE", der), write("key.pem", "PRIVATE KEY", pkcs8), write("ca.pem", "CERTIFICATE", a.cert.Raw)
}

// needTLS skips the test unless redis-server is here and was built with TLS.
func needTLS(t testing.TB) {
	t.Helper()
	if from := os.Getenv("REDISTEST"); from != "" && from != "redis-server" {
		t.Skip("needs a redis-server on this machine, for its files")
	}
	// It has nothing to listen on, and ends at once; without TLS it does not know the directive.
	out, _ := exec.CommandContext(bounded(t), "redis-server", "--port", "0", "--tls-port", "0", "--unixsocket", "").CombinedOutput()
	if !strings.Contains(string(out), "not listen anywhere") {
		t.Skip("needs a redis-server that was built with TLS")
	}
}

// TestTLSAndACLUser: everything works through rediss:// as the least-privileged
// user, and a server whose certificate is of an unknown CA is refused.
func TestTLSAndACLUser(t *testing.T) {
	t.Parallel()
	needTLS(t)
	ca := newAuthority(t)
	cert, key, caFile := ca.server(t)
	free := must[net.Listener](t)(net.Listen("tcp", "127.0.0.1:0"))
	port := strconv.Itoa(free.Addr().(*net.TCPAddr).Port)
	wantErr(t, free.Close(), nil)
	redistest.Start(t, redistest.Own, redistest.User(account("app", lock.ACLOf("app", false))), redistest.Config("tls-port", port),
		redistest.Config("tls-cert-file", cert), redistest.Config("tls-key-file", key), redistest.Config("tls-ca-cert-file", caFile),
		redistest.Config("tls-auth-clients", "no"))

	client := func(roots *x509.CertPool) *redis.Client {
		o := must[*redis.Options](t)(redis.ParseURL(fmt.Sprintf("rediss://app:%s@127.0.0.1:%s", password, port)))
		o.TLSConfig.RootCAs = roots
		rdb := redis.NewClient(o)
		t.Cleanup(func() { _ = rdb.Close() })
		return rdb
	}
	if s := must[*redis.Options](t)(redis.ParseURL("rediss://127.0.0.1:" + port)); s.TLSConfig.MinVersion < tls.VersionTLS12 {
		t.Errorf("TLS from %x", s.TLSConfig.MinVersion)
	}
	l := newLockerOn(t, client(ca.pool()), lock.Config{Namespace: "app", Publish: true})
	other := newLockerOn(t, client(ca.pool()), lock.Config{Namespace: "app"})
	must[iter.Seq[lock.Event]](t)(other.Watch(bounded(t)))
	useAll(t, l, other)
	wantNoFinding(t, checked(t, client(ca.pool()), lock.Config{Namespace: "app"}), "right-missing")

	stranger := client(newAuthority(t).pool())
	_, err := lock.Check(bounded(t), stranger, lock.Config{Namespace: "app"})
	if err == nil || !strings.Contains(err.Error(), "certificate") || strings.Contains(err.Error(), password) {
		t.Errorf("a certificate of an unknown CA: %v", err)
	}
}
