// Checks that a log of Seinhuis is one that Go's checksum database would know: its notes, tree, proofs and tile paths,
// with the libraries golang.org/x/mod/sumdb/note and golang.org/x/mod/sumdb/tlog. See docs/log.md.
//
//	third_check bundle VKEY EXPORT.zip    does the checkpoint verify, and do the entries lead to its root?
//	third_check claims VKEY < LINES       a claim a line in JSON; "good" or "bad: …" a line in answer
//
// It knows nothing of what entries say, and does not replace the other verifiers of exports.
package main

import (
	"archive/zip"
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// No member of an export that is read here is longer, in bytes.
const memberMax = 1 << 30

// The height of tiles in C2SP tlog-tiles.
const tileHeight = 8

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Println("bad:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) == 3 && args[0] == "bundle":
		count, size, err := checkBundle(args[1], args[2])
		if err == nil {
			fmt.Printf("good: %d of %d entries\n", count, size)
		}
		return err
	case len(args) == 2 && args[0] == "claims":
		return checkClaims(args[1], os.Stdin, os.Stdout)
	}
	return errors.New("usage: third_check bundle VKEY EXPORT.zip | third_check claims VKEY")
}

// checkpoint opens a signed note and reads the three lines of a checkpoint by the key's owner.
func checkpoint(vkey string, signed []byte) (tlog.Tree, error) {
	verifier, err := note.NewVerifier(vkey)
	if err != nil {
		return tlog.Tree{}, err
	}
	opened, err := note.Open(signed, note.VerifierList(verifier))
	if err != nil {
		return tlog.Tree{}, err
	}
	lines := strings.Split(opened.Text, "\n")
	if len(lines) < 4 || lines[0] != verifier.Name() {
		return tlog.Tree{}, errors.New("not a checkpoint of this log")
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil {
		return tlog.Tree{}, err
	}
	root, err := tlog.ParseHash(lines[2])
	return tlog.Tree{N: size, Hash: root}, err
}

func checkBundle(vkey, path string) (count int, size int64, err error) {
	archive, err := zip.OpenReader(path)
	if err != nil {
		return 0, 0, err
	}
	defer archive.Close()
	members := map[string][]byte{}
	for _, name := range []string{"checkpoint.txt", "entries.jsonl", "manifest.json", "proof.txt", "runs.txt"} {
		file, err := archive.Open(name)
		if err != nil {
			return 0, 0, err
		}
		members[name], err = io.ReadAll(io.LimitReader(file, memberMax))
		file.Close()
		if err != nil {
			return 0, 0, err
		}
	}
	tree, err := checkpoint(vkey, members["checkpoint.txt"])
	if err != nil {
		return 0, 0, err
	}
	var manifest struct {
		Size, Count int64
	}
	if err := json.Unmarshal(members["manifest.json"], &manifest); err != nil {
		return 0, 0, err
	}
	entries := lines(members["entries.jsonl"])
	if manifest.Size != tree.N || manifest.Count != int64(len(entries)) {
		return 0, 0, errors.New("the manifest is of another log or other entries")
	}
	root, err := bundleRoot(tree.N, entries, lines(members["runs.txt"]), lines(members["proof.txt"]))
	if err != nil {
		return 0, 0, err
	}
	if root != tree.Hash {
		return 0, 0, errors.New("the entries do not lead to the root of the checkpoint")
	}
	return len(entries), tree.N, nil
}

// lines gives the lines of a text, without their newlines.
func lines(text []byte) [][]byte {
	if len(text) == 0 {
		return nil
	}
	return bytes.Split(bytes.TrimSuffix(text, []byte("\n")), []byte("\n"))
}

// bundleRoot computes the root that the entries of a bundle lead to.
func bundleRoot(size int64, entries, runs, proof [][]byte) (tlog.Hash, error) {
	var indexes []int64
	for _, run := range runs {
		var first, count int64
		if _, err := fmt.Sscanf(string(run), "%d %d", &first, &count); err != nil {
			return tlog.Hash{}, err
		}
		if first < 0 || count < 1 || count > int64(len(entries)-len(indexes)) {
			return tlog.Hash{}, errors.New("more places than entries")
		}
		for i := int64(0); i < count; i++ {
			indexes = append(indexes, first+i)
		}
	}
	if len(indexes) != len(entries) {
		return tlog.Hash{}, errors.New("more entries than places")
	}
	if len(runs) == 1 && indexes[0] == 0 && int64(len(entries)) == size {
		if len(proof) != 0 {
			return tlog.Hash{}, errors.New("a proof of a whole log")
		}
		return wholeRoot(entries)
	}
	walk := walk{indexes: indexes, entries: entries, proof: proof}
	root := tlog.Hash{}
	var err error
	if size > 0 {
		root, err = walk.over(0, size)
	} else {
		root, err = tlog.TreeHash(0, stored(nil))
	}
	if err == nil && (len(walk.indexes) > 0 || len(walk.proof) > 0) {
		err = errors.New("entries or hashes left over")
	}
	return root, err
}

// stored are the hashes of a tree in the order of package tlog.
type stored []tlog.Hash

func (s stored) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	hashes := make([]tlog.Hash, len(indexes))
	for i, index := range indexes {
		if index >= int64(len(s)) {
			return nil, errors.New("no such hash")
		}
		hashes[i] = s[index]
	}
	return hashes, nil
}

func wholeRoot(entries [][]byte) (tlog.Hash, error) {
	var tree stored
	for i, entry := range entries {
		hashes, err := tlog.StoredHashes(int64(i), entry, tree)
		if err != nil {
			return tlog.Hash{}, err
		}
		tree = append(tree, hashes...)
	}
	return tlog.TreeHash(int64(len(entries)), tree)
}

// walk goes over the tree as docs/log.md says under "The subset proof".
type walk struct {
	indexes        []int64
	entries, proof [][]byte
}

func (w *walk) over(low, high int64) (tlog.Hash, error) {
	if len(w.indexes) == 0 || w.indexes[0] >= high {
		if len(w.proof) == 0 {
			return tlog.Hash{}, errors.New("the proof is cut off")
		}
		hash, err := unhex(string(w.proof[0]))
		w.proof = w.proof[1:]
		return hash, err
	}
	if w.indexes[0] < low {
		return tlog.Hash{}, errors.New("the places do not rise")
	}
	if high-low == 1 {
		hash := tlog.RecordHash(w.entries[0])
		w.indexes, w.entries = w.indexes[1:], w.entries[1:]
		return hash, nil
	}
	half := int64(1)
	for half*2 < high-low {
		half *= 2
	}
	left, err := w.over(low, low+half)
	if err != nil {
		return left, err
	}
	right, err := w.over(low+half, high)
	return tlog.NodeHash(left, right), err
}

func unhex(text string) (hash tlog.Hash, err error) {
	bytes, err := hex.DecodeString(text)
	if err == nil && len(bytes) != tlog.HashSize {
		err = errors.New("not a hash")
	}
	copy(hash[:], bytes)
	return hash, err
}

// A claim says one thing about a log. Which fields it has depends on its kind; hashes are hexadecimal.
type claim struct {
	Kind string
	// record: the leaf with this hash stands at Index in the tree of Size leaves with this Root, by this Proof.
	Index, Size int64
	Leaf, Root  string
	Proof       []string
	// tree: the tree of Old leaves with OldRoot is a beginning of the one of Size leaves with Root.
	Old     int64
	OldRoot string
	// note: this, in base64, is a checkpoint by the key, of Size leaves with this Root.
	Note string
	// path: the tile of this Level, Index and Width has this Path. Level -1 is of entries.
	Level, Width int
	Path         string
}

func checkClaims(vkey string, from io.Reader, to io.Writer) error {
	reader := bufio.NewReader(from)
	for {
		line, err := reader.ReadBytes('\n')
		if err == io.EOF && len(line) == 0 {
			return nil
		}
		if err != nil && err != io.EOF {
			return err
		}
		var one claim
		err = json.Unmarshal(line, &one)
		if err == nil {
			err = one.check(vkey)
		}
		if err == nil {
			fmt.Fprintln(to, "good")
		} else {
			fmt.Fprintln(to, "bad:", err)
		}
	}
}

func (c *claim) check(vkey string) error {
	switch c.Kind {
	case "record", "tree":
		return c.checkProof()
	case "note":
		return c.checkNote(vkey)
	case "path":
		return c.checkPath()
	}
	return errors.New("no such kind of claim")
}

func (c *claim) checkProof() error {
	var proof []tlog.Hash
	for _, text := range c.Proof {
		hash, err := unhex(text)
		if err != nil {
			return err
		}
		proof = append(proof, hash)
	}
	root, err := unhex(c.Root)
	if err != nil {
		return err
	}
	if c.Kind == "record" {
		leaf, err := unhex(c.Leaf)
		if err != nil {
			return err
		}
		return tlog.CheckRecord(proof, c.Size, root, c.Index, leaf)
	}
	oldRoot, err := unhex(c.OldRoot)
	if err != nil {
		return err
	}
	return tlog.CheckTree(proof, c.Size, root, c.Old, oldRoot)
}

func (c *claim) checkNote(vkey string) error {
	signed, err := base64.StdEncoding.DecodeString(c.Note)
	if err != nil {
		return err
	}
	tree, err := checkpoint(vkey, signed)
	if err != nil {
		return err
	}
	root, err := unhex(c.Root)
	if err == nil && (tree.N != c.Size || tree.Hash != root) {
		err = errors.New("a checkpoint of another tree")
	}
	return err
}

// checkPath compares paths. Go's name the height of tiles, and the entries "data".
func (c *claim) checkPath() error {
	tile := tlog.Tile{H: tileHeight, L: c.Level, N: c.Index, W: c.Width}
	rest := strings.TrimPrefix(c.Path, "tile/")
	if strings.HasPrefix(rest, "entries/") {
		rest = "data/" + strings.TrimPrefix(rest, "entries/")
	}
	path := fmt.Sprintf("tile/%d/%s", tileHeight, rest)
	if tile.Path() != path {
		return fmt.Errorf("the path is %s", tile.Path())
	}
	parsed, err := tlog.ParseTilePath(path)
	if err == nil && parsed != tile {
		err = errors.New("the path is of another tile")
	}
	return err
}
