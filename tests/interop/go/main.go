// Reads an exported ledger with golang.org/x/mod/sumdb/{note,tlog} as they are, and with nothing of ours.
//
// Usage: main BUNDLE LOG_KEY COSIGNER_KEY ENTRY PROOF REQUEST
//
// It opens the note, recomputes every entry's place in the tree from the tiles, proves and checks consistency
// with earlier sizes, checks one tlog-proof and one request to a witness, and sees that altered entries, roots
// and notes are refused. It prints "ok" and ends with 0, or says what went wrong and ends with 1.
package main

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

func main() {
	if len(os.Args) != 7 {
		fail("expected six arguments, got %d", len(os.Args)-1)
	}
	bundle, logKey, cosignerKey := os.Args[1], os.Args[2], os.Args[3]
	log, err := note.NewVerifier(logKey)
	check(err)
	witness := newCosigner(cosignerKey)

	text := openNote(read(bundle, "checkpoint"), log, witness)
	tree := parseTree(text, log.Name())
	reader := tlog.TileHashReader(tree, &tiles{bundle})
	entries := readEntries(bundle, tree.N)
	for index, entry := range entries {
		proof, err := tlog.ProveRecord(tree.N, int64(index), reader)
		check(err)
		check(tlog.CheckRecord(proof, tree.N, tree.Hash, int64(index), tlog.RecordHash(entry)))
		altered := append([]byte(nil), entry...)
		altered[len(altered)/2] ^= 1
		if tlog.CheckRecord(proof, tree.N, tree.Hash, int64(index), tlog.RecordHash(altered)) == nil {
			fail("an altered entry was accepted: %d", index)
		}
	}
	for size := int64(1); size <= tree.N; size += 37 {
		old, err := tlog.TreeHash(size, reader)
		check(err)
		proof, err := tlog.ProveTree(tree.N, size, reader)
		check(err)
		check(tlog.CheckTree(proof, tree.N, tree.Hash, size, old))
		old[0] ^= 1
		if tlog.CheckTree(proof, tree.N, tree.Hash, size, old) == nil {
			fail("another root was accepted for size %d", size)
		}
	}
	checkProof(os.Args[4], os.Args[5], log, witness)
	checkRequest(os.Args[6], log, tree, reader)
	fmt.Println("ok", tree.N)
}

// openNote returns the text that log and witness signed, and sees that no changed text is accepted.
func openNote(data []byte, log, witness note.Verifier) string {
	opened, err := note.Open(data, note.VerifierList(log, witness))
	check(err)
	if len(opened.Sigs) != 2 || len(opened.UnverifiedSigs) != 0 {
		fail("expected signatures of log and witness, got %d and %d others", len(opened.Sigs), len(opened.UnverifiedSigs))
	}
	altered := append([]byte(nil), data...)
	altered[strings.Index(opened.Text, "\n")+1] ^= 1
	if _, err := note.Open(altered, note.VerifierList(log)); err == nil {
		fail("an altered note was accepted")
	}
	return opened.Text
}

func parseTree(text, origin string) tlog.Tree {
	lines := strings.Split(text, "\n")
	if len(lines) != 4 || lines[0] != origin || lines[3] != "" {
		fail("expected origin, size and root, got %d lines", len(lines)-1)
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	check(err)
	hash, err := tlog.ParseHash(lines[2])
	check(err)
	return tlog.Tree{N: size, Hash: hash}
}

// tiles reads hash tiles. The package writes the height into paths; C2SP tlog-tiles has one height and leaves it out.
type tiles struct{ bundle string }

func (t *tiles) Height() int                         { return 8 }
func (t *tiles) SaveTiles(_ []tlog.Tile, _ [][]byte) {}
func (t *tiles) ReadTiles(wanted []tlog.Tile) ([][]byte, error) {
	var found [][]byte
	for _, tile := range wanted {
		found = append(found, read(t.bundle, strings.Replace(tile.Path(), "tile/8/", "tile/", 1)))
	}
	return found, nil
}

func readEntries(bundle string, size int64) [][]byte {
	var entries [][]byte
	for first := int64(0); first < size; first += 256 {
		width := size - first
		if width > 256 {
			width = 256
		}
		path := (tlog.Tile{H: 8, L: 0, N: first / 256, W: int(width)}).Path()
		data := read(bundle, strings.Replace(path, "tile/8/0/", "tile/entries/", 1))
		for ; len(data) > 0; width-- {
			length := int(binary.BigEndian.Uint16(data))
			entries, data = append(entries, data[2:2+length]), data[2+length:]
		}
		if width != 0 {
			fail("expected another number of entries in %s", path)
		}
	}
	return entries
}

// checkProof verifies one entry by its tlog-proof alone.
func checkProof(entryPath, proofPath string, log, witness note.Verifier) {
	head, checkpoint, _ := strings.Cut(string(read("", proofPath)), "\n\n")
	lines := strings.Split(head, "\n")
	if lines[0] != "c2sp.org/tlog-proof@v1" || !strings.HasPrefix(lines[1], "index ") {
		fail("expected a tlog-proof")
	}
	index, err := strconv.ParseInt(strings.TrimPrefix(lines[1], "index "), 10, 64)
	check(err)
	tree := parseTree(openNote([]byte(checkpoint), log, witness), log.Name())
	var proof tlog.RecordProof
	for _, line := range lines[2:] {
		hash, err := tlog.ParseHash(line)
		check(err)
		proof = append(proof, hash)
	}
	check(tlog.CheckRecord(proof, tree.N, tree.Hash, index, tlog.RecordHash(read("", entryPath))))
}

// checkRequest verifies the consistency proof that a witness is sent.
func checkRequest(path string, log note.Verifier, newest tlog.Tree, reader tlog.HashReader) {
	head, checkpoint, _ := strings.Cut(string(read("", path)), "\n\n")
	lines := strings.Split(head, "\n")
	old, err := strconv.ParseInt(strings.TrimPrefix(lines[0], "old "), 10, 64)
	check(err)
	opened, err := note.Open([]byte(checkpoint), note.VerifierList(log))
	check(err)
	tree := parseTree(opened.Text, log.Name())
	if tree != newest {
		fail("expected the checkpoint of the bundle")
	}
	var proof tlog.TreeProof
	for _, line := range lines[1:] {
		hash, err := tlog.ParseHash(line)
		check(err)
		proof = append(proof, hash)
	}
	root, err := tlog.TreeHash(old, reader)
	check(err)
	check(tlog.CheckTree(proof, tree.N, tree.Hash, old, root))
}

// cosigner verifies cosignature/v1 lines (C2SP tlog-cosignature), written from that text with Go's own Ed25519.
type cosigner struct {
	name string
	id   uint32
	key  ed25519.PublicKey
}

func newCosigner(text string) *cosigner {
	parts := strings.SplitN(text, "+", 3)
	raw, err := base64.StdEncoding.DecodeString(parts[2])
	check(err)
	if raw[0] != 4 || len(raw) != 33 {
		fail("expected a cosigner's key")
	}
	id, err := strconv.ParseUint(parts[1], 16, 32)
	check(err)
	return &cosigner{parts[0], uint32(id), raw[1:]}
}

func (c *cosigner) Name() string    { return c.name }
func (c *cosigner) KeyHash() uint32 { return c.id }
func (c *cosigner) Verify(text, stated []byte) bool {
	if len(stated) != 8+ed25519.SignatureSize {
		return false
	}
	message := fmt.Sprintf("cosignature/v1\ntime %d\n%s", binary.BigEndian.Uint64(stated), text)
	return ed25519.Verify(c.key, []byte(message), stated[8:])
}

func read(parts ...string) []byte {
	data, err := os.ReadFile(filepath.Join(parts...))
	check(err)
	return data
}

func check(err error) {
	if err != nil {
		fail("%v", err)
	}
}

func fail(format string, values ...interface{}) {
	fmt.Fprintf(os.Stderr, format+"\n", values...)
	os.Exit(1)
}
