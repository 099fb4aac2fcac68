// Command log_verifier checks an exported log with the Go team's own packages for their checksum database
// (golang.org/x/mod/sumdb), which know nothing of the broker. It reads files and needs neither network nor the broker.
//
//	log_verifier -key VKEY [-former VKEY]... [-from CHECKPOINT]... [-witness VKEY]... [-quarter 2026Q4] [-receipt FILE -entry FILE]... FOLDER
//
// It opens the signed checkpoint, proves that it continues each checkpoint saved earlier, authenticates every tile, and
// proves that each entry is in the tree. With -quarter it lists the disclosures of a quarter from those entries, as CSV.
// With -receipt it checks a .tlog-proof for an entry and needs no folder.
package main

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/csv"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	fnote "github.com/transparency-dev/formats/note"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const (
	tileHeight = 8
	tileWidth  = 1 << tileHeight
	// provedEvery says how often the whole inclusion proof of an entry is built and checked, besides the comparison
	// of its hash with the authenticated tile, which is done for all.
	provedEvery = 97
)

type many []string

func (m *many) String() string     { return strings.Join(*m, " ") }
func (m *many) Set(s string) error { *m = append(*m, s); return nil }

func main() {
	var from, former, witnesses, receipts, entries many
	key := flag.String("key", "", "the log's verifier key, from a source other than the log")
	quarter := flag.String("quarter", "", "list the disclosures of this quarter, such as 2026Q4, as CSV; quarters are those of -zone")
	zone := flag.String("zone", "Asia/Shanghai", "time zone of the hospital")
	flag.Var(&former, "former", "verifier key of the log from before its key or name was changed, for -from; may be repeated")
	flag.Var(&from, "from", "file with a checkpoint saved earlier; may be repeated")
	flag.Var(&witnesses, "witness", "verifier key of a witness that must have cosigned; may be repeated")
	flag.Var(&receipts, "receipt", "file with a receipt (.tlog-proof) to check; may be repeated, each with an -entry")
	flag.Var(&entries, "entry", "file with the entry of the receipt, byte for byte")
	flag.Parse()
	if err := run(*key, from, former, witnesses, receipts, entries, flag.Arg(0), *quarter, *zone); err != nil {
		fmt.Fprintln(os.Stderr, "NOT VERIFIED:", err)
		os.Exit(1)
	}
}

func run(key string, from, former, witnesses, receipts, entries many, folder, quarter, zone string) error {
	log, err := note.NewVerifier(key)
	if err != nil {
		return fmt.Errorf("-key: %w", err)
	}
	known := []note.Verifier{log}
	for _, vkey := range former {
		older, err := note.NewVerifier(vkey)
		if err != nil {
			return fmt.Errorf("-former: %w", err)
		}
		known = append(known, older)
	}
	list, err := newListing(quarter, zone)
	if err != nil {
		return err
	}
	if len(receipts) != len(entries) {
		return errors.New("each -receipt needs its -entry")
	}
	for at, receipt := range receipts {
		if err := checkReceipt(log, receipt, entries[at]); err != nil {
			return fmt.Errorf("%s: %w", receipt, err)
		}
	}
	if folder == "" {
		if len(receipts) == 0 {
			return errors.New("name a folder or a receipt")
		}
		return nil
	}
	text, err := os.ReadFile(filepath.Join(folder, "checkpoint"))
	if err != nil {
		return err
	}
	tree, err := open(text, log, witnesses)
	if err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	reader := tlog.TileHashReader(tree, tiles{folder})
	for _, path := range from {
		if err := checkContinues(known, tree, reader, path); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	if err := checkEntries(folder, tree, reader, list); err != nil {
		return err
	}
	// Only now is every line of it proven.
	if err := list.print(); err != nil {
		return err
	}
	fmt.Printf("verified: %d entries, root %s, %d older checkpoints, %d witnesses\n", tree.N, tree.Hash, len(from), len(witnesses))
	return nil
}

// open checks the log's signature and a cosignature of each witness, and reads the three lines.
func open(text []byte, log note.Verifier, witnesses many) (tlog.Tree, error) {
	known := []note.Verifier{log}
	for _, vkey := range witnesses {
		witness, err := fnote.NewVerifierForCosignatureV1(vkey)
		if err != nil {
			return tlog.Tree{}, fmt.Errorf("-witness: %w", err)
		}
		known = append(known, witness)
	}
	opened, err := note.Open(text, note.VerifierList(known...))
	if err != nil {
		return tlog.Tree{}, err
	}
	for _, wanted := range known {
		found := false
		for _, signature := range opened.Sigs {
			found = found || (signature.Name == wanted.Name() && signature.Hash == wanted.KeyHash())
		}
		if !found {
			return tlog.Tree{}, fmt.Errorf("%s did not sign", wanted.Name())
		}
	}
	lines := strings.Split(opened.Text, "\n")
	if len(lines) < 4 || lines[0] != log.Name() {
		return tlog.Tree{}, errors.New("not a checkpoint of this log")
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil || size < 0 || strconv.FormatInt(size, 10) != lines[1] {
		return tlog.Tree{}, errors.New("the size is not a decimal number")
	}
	root, err := base64.StdEncoding.Strict().DecodeString(lines[2])
	if err != nil || len(root) != tlog.HashSize {
		return tlog.Tree{}, errors.New("the root is not 32 bytes")
	}
	return tlog.Tree{N: size, Hash: tlog.Hash(root)}, nil
}

func checkContinues(known []note.Verifier, tree tlog.Tree, reader tlog.HashReader, path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var older tlog.Tree
	for _, log := range known {
		if older, err = open(text, log, nil); err == nil {
			break
		}
	}
	if err != nil {
		return err
	}
	if older.N > tree.N {
		return fmt.Errorf("the log holds %d entries, this checkpoint says %d", tree.N, older.N)
	}
	if older.N == 0 {
		return nil
	}
	proof, err := tlog.ProveTree(tree.N, older.N, reader)
	if err != nil {
		return err
	}
	if err := tlog.CheckTree(proof, tree.N, tree.Hash, older.N, older.Hash); err != nil {
		return fmt.Errorf("history was rewritten: %w", err)
	}
	return nil
}

func checkEntries(folder string, tree tlog.Tree, reader tlog.HashReader, list *listing) error {
	for first := int64(0); first < tree.N; first += tileWidth {
		count := int(min(tileWidth, tree.N-first))
		tile := tlog.Tile{H: tileHeight, L: -1, N: first / tileWidth, W: count}
		data, err := os.ReadFile(filepath.Join(folder, path(tile)))
		if err != nil {
			return err
		}
		wanted := make([]int64, count)
		for at := range wanted {
			wanted[at] = tlog.StoredHashIndex(0, first+int64(at))
		}
		hashes, err := reader.ReadHashes(wanted)
		if err != nil {
			return err
		}
		for at := 0; at < count; at++ {
			index := first + int64(at)
			if len(data) < 2 || len(data) < 2+int(binary.BigEndian.Uint16(data)) {
				return fmt.Errorf("entry %d: the bundle ends before it", index)
			}
			end := 2 + int(binary.BigEndian.Uint16(data))
			found := tlog.RecordHash(data[2:end])
			entry := data[2:end]
			data = data[end:]
			if found != hashes[at] {
				return fmt.Errorf("entry %d is not the one in the tree", index)
			}
			if err := list.take(index, entry); err != nil {
				return fmt.Errorf("entry %d: %w", index, err)
			}
			if index%provedEvery != 0 && index != tree.N-1 {
				continue
			}
			proof, err := tlog.ProveRecord(tree.N, index, reader)
			if err != nil {
				return err
			}
			if err := tlog.CheckRecord(proof, tree.N, tree.Hash, index, found); err != nil {
				return fmt.Errorf("entry %d: %w", index, err)
			}
		}
		if len(data) != 0 {
			return fmt.Errorf("%s: the bundle goes on after its last entry", path(tile))
		}
	}
	return nil
}

// listing gathers what entries say of disclosures in a quarter.
type listing struct {
	begin, end time.Time
	zone       *time.Location
	releases   map[string]*release
	order      []*release
}

// release is an intent and what is known of its end; a later outcome explains an earlier one.
type release struct {
	intent, end leaf
	index       int64
	outcome     string
}

// leaf is what an entry says (docs/decisions/0003); what is not about a release is passed over.
type leaf struct {
	Type      string `json:"type"`
	Time      string `json:"t"`
	Release   string `json:"release"`
	Recipient string `json:"recipient"`
	Purpose   string `json:"purpose"`
	App       string `json:"app"`
	Subject   string `json:"subject"`
	Facts     struct {
		Items    json.Number `json:"items"`
		Bytes    json.Number `json:"bytes"`
		Manifest string      `json:"manifest"`
	} `json:"facts"`
	at time.Time
}

func newListing(quarter, zone string) (*listing, error) {
	if quarter == "" {
		return nil, nil
	}
	place, err := time.LoadLocation(zone)
	if err != nil {
		return nil, fmt.Errorf("-zone: %w", err)
	}
	match := regexp.MustCompile(`^([0-9]{4})Q([1-4])$`).FindStringSubmatch(quarter)
	if match == nil {
		return nil, errors.New("-quarter is written like 2026Q4")
	}
	year, _ := strconv.Atoi(match[1])
	number, _ := strconv.Atoi(match[2])
	begin := time.Date(year, time.Month(3*number-2), 1, 0, 0, 0, 0, place)
	return &listing{begin: begin, end: begin.AddDate(0, 3, 0), zone: place, releases: map[string]*release{}}, nil
}

// take remembers an intent, and how it ended.
func (l *listing) take(index int64, entry []byte) error {
	if l == nil {
		return nil
	}
	var found leaf
	if err := json.Unmarshal(entry, &found); err != nil {
		return errors.New("not an entry of a broker")
	}
	outcome, ofRelease := strings.CutPrefix(found.Type, "release.")
	if !ofRelease || found.Release == "" {
		return nil
	}
	at, err := time.Parse(time.RFC3339, found.Time)
	if err != nil {
		return err
	}
	found.at = at
	known := l.releases[found.Release]
	switch outcome {
	case "permitted":
		if known == nil {
			known = &release{intent: found, end: found, index: index, outcome: "open"}
			l.releases[found.Release] = known
			l.order = append(l.order, known)
		}
	case "sent", "partial", "unknown", "failed":
		if known == nil {
			return errors.New("data were sent of which no permission stands before it in the log")
		}
		known.end, known.index, known.outcome = found, index, outcome
	}
	return nil
}

// print writes the quarter's disclosures, by when each was permitted. What nobody knows the end of counts as disclosed.
func (l *listing) print() error {
	if l == nil {
		return nil
	}
	out := csv.NewWriter(os.Stdout)
	out.Write([]string{"entry", "time", "release", "recipient", "purpose", "application", "outcome", "items", "manifest", "subject"})
	for _, one := range l.order {
		nothing := one.outcome == "failed" && (one.end.Facts.Bytes == "" || one.end.Facts.Bytes == "0")
		if nothing || one.intent.at.Before(l.begin) || !one.intent.at.Before(l.end) {
			continue
		}
		out.Write([]string{strconv.FormatInt(one.index, 10), one.intent.at.In(l.zone).Format(time.RFC3339), one.intent.Release, one.intent.Recipient,
			one.intent.Purpose, one.intent.App, one.outcome, one.end.Facts.Items.String(), one.end.Facts.Manifest, one.intent.Subject})
	}
	out.Flush()
	return out.Error()
}

// checkReceipt follows c2sp.org/tlog-proof: header, index, hashes, blank line, checkpoint.
func checkReceipt(log note.Verifier, receipt, entry string) error {
	text, err := os.ReadFile(receipt)
	if err != nil {
		return err
	}
	record, err := os.ReadFile(entry)
	if err != nil {
		return err
	}
	head, checkpoint, found := bytes.Cut(text, []byte("\n\n"))
	lines := strings.Split(string(head), "\n")
	if !found || len(lines) < 2 || lines[0] != "c2sp.org/tlog-proof@v1" || !strings.HasPrefix(lines[1], "index ") {
		return errors.New("not a receipt")
	}
	index, err := strconv.ParseInt(strings.TrimPrefix(lines[1], "index "), 10, 64)
	if err != nil {
		return err
	}
	var proof tlog.RecordProof
	for _, line := range lines[2:] {
		hash, err := tlog.ParseHash(line)
		if err != nil {
			return err
		}
		proof = append(proof, hash)
	}
	tree, err := open(checkpoint, log, nil)
	if err != nil {
		return err
	}
	if err := tlog.CheckRecord(proof, tree.N, tree.Hash, index, tlog.RecordHash(record)); err != nil {
		return err
	}
	fmt.Printf("receipt: entry %d of %d\n", index, tree.N)
	return nil
}

// path is the place of a tile below the log's folder. The packages' own paths name the height; C2SP's tlog-tiles fixes it to 8.
func path(tile tlog.Tile) string {
	own := strings.TrimPrefix(tile.Path(), "tile/8/")
	return filepath.FromSlash("tile/" + strings.Replace(own, "data/", "entries/", 1))
}

type tiles struct{ folder string }

func (t tiles) Height() int { return tileHeight }

func (t tiles) ReadTiles(wanted []tlog.Tile) ([][]byte, error) {
	var found [][]byte
	for _, tile := range wanted {
		data, err := os.ReadFile(filepath.Join(t.folder, path(tile)))
		if errors.Is(err, fs.ErrNotExist) && tile.W < tileWidth {
			// A log that has grown may keep the full tile alone.
			full := tile
			full.W = tileWidth
			if data, err = os.ReadFile(filepath.Join(t.folder, path(full))); err == nil && len(data) >= tile.W*tlog.HashSize {
				data = data[:tile.W*tlog.HashSize]
			}
		}
		if err != nil {
			return nil, err
		}
		found = append(found, data)
	}
	return found, nil
}

func (t tiles) SaveTiles([]tlog.Tile, [][]byte) {}
