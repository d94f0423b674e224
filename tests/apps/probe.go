// tests/apps/probe.go — the program under test in Go, dynamically linked through cgo.
package main

import "C"

import (
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
)

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func crc(path string) (string, int) {
	bytes, err := os.ReadFile(path)
	must(err)
	return fmt.Sprintf("%08x", crc32.ChecksumIEEE(bytes)), len(bytes)
}

func files(top string) {
	var names []string
	must(filepath.WalkDir(top, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Type().IsRegular() {
			names = append(names, path)
		}
		return err
	}))
	sort.Strings(names)
	for _, name := range names {
		sum, size := crc(name)
		fmt.Println(sum, size, name)
	}
}

func resolve(name string) {
	addresses, err := net.LookupHost(name)
	must(err)
	sort.Strings(addresses)
	fmt.Println(strings.Join(addresses, " "))
}

func get(url string) {
	answer, err := http.Get(url)
	must(err)
	_, err = io.Copy(os.Stdout, answer.Body)
	must(err)
}

func threads(count int, path string) {
	results := make(chan string)
	for i := 0; i < count; i++ {
		go func() {
			sum, _ := crc(path)
			results <- sum
		}()
	}
	different := map[string]bool{}
	for i := 0; i < count; i++ {
		different[<-results] = true
	}
	for sum := range different {
		fmt.Println(len(different), sum)
		break
	}
}

func main() {
	args := os.Args[1:]
	switch args[0] {
	case "files":
		files(args[1])
	case "stat":
		info, err := os.Stat(args[1])
		must(err)
		fmt.Printf("%d %o %d\n", info.Size(), info.Mode().Perm(), info.ModTime().Unix())
	case "env":
		fmt.Println(os.Getenv(args[1]))
	case "resolve":
		resolve(args[1])
	case "get":
		get(args[1])
	case "write":
		must(os.WriteFile(args[1], []byte(args[2]), 0o644))
		bytes, err := os.ReadFile(args[1])
		must(err)
		fmt.Println(string(bytes))
	case "spawn":
		output, err := exec.Command(args[1], args[2:]...).Output()
		must(err)
		fmt.Print(string(output))
	case "threads":
		count, err := strconv.Atoi(args[1])
		must(err)
		threads(count, args[2])
	}
}
