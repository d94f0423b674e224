// proto/local.h — what the hook and the intproxy share: the messages on their UNIX socket, the
// read-only settings file and the shared file slots. Plain structs of one machine and one build.
//
// Transport: a SOCK_SEQPACKET socket at `Settings::socket_path`. Every packet is one LocalHeader,
// the fixed part of its message, then its variable bytes. A connection carries one request at a
// time: the answer to a request is the next packet on it. Messages marked "one-way" have no
// answer. Descriptors travel as SCM_RIGHTS of the packet that needs them. A process opens as many
// connections as it has threads waiting at the same time.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace mirrord::local {

// The columns of comments are aligned by hand.
// clang-format off

inline constexpr uint32_t kVersion = 1;
// Largest packet, header included. Fits the default socket buffer (net.core.wmem_default).
inline constexpr size_t kMaxPacket = 160 * 1024;
// Most file bytes that one packet carries.
inline constexpr size_t kMaxData = 128 * 1024;
inline constexpr size_t kMaxPath = 4096;

enum class MessageType : uint32_t {
  // Session.
  kHello = 1,    // one-way, first on every connection
  kFork,         // one-way; one descriptor: the other end becomes a connection of the child
  kExec,         // one-way; the process keeps its key and its handles for its next image
  kLog,          // one-way; text for the session's log
  kLogDecision,  // the same, for those who want to know every decision
  kPing,         // -> nothing, at once: the intproxy works

  // Files. Every answer begins with LocalHeader::error (0 or an errno).
  kOpen = 100,   // OpenRequest + path -> OpenReply (+ descriptor)
  kClose,        // HandleRequest; answered only when the handle was opened for writing
  kFetch,        // RangeRequest -> RangeReply: bytes [offset, …) are in the memfd now
  kFetchAll,     // HandleRequest -> RangeReply: the whole file is in the memfd, and stays
  kNudge,        // RangeRequest, one-way: the reader has got to `offset`
  kRead,         // RangeRequest -> bytes   (direct handles)
  kWrite,        // RangeRequest + bytes -> CountReply; acknowledged when it is in order, errors
                 // that the agent reports later come with the next write, fsync or close
  kSeek,         // RangeRequest (flags = whence) -> CountReply
  kSync,         // HandleRequest -> error of the writes so far
  kTruncate,     // RangeRequest (offset = length)
  kStatHandle,   // HandleRequest -> Metadata
  kStatFsHandle, // HandleRequest -> FsMetadata
  kSetMode,      // AttributeRequest on a handle
  kSetOwner,     // AttributeRequest
  kSetTimes,     // AttributeRequest
  kList,         // HandleRequest -> RangeReply: the memfd holds all entries as linux_dirent64

  // Paths: PathRequest + path (+ second path).
  kStat = 200,   // -> Metadata
  kAccess,
  kReadLink,     // -> bytes
  kMakeDir,
  kUnlink,       // flags: AT_REMOVEDIR
  kRename,       // two paths
  kStatFs,       // -> FsMetadata
  kTruncatePath,
  kSetModePath,
  kSetOwnerPath,
  kSetTimesPath,
  kMapPath,      // -> MapReply + path: mapping and decision for a path whose automaton says "map"

  // Network.
  kResolve = 300,    // ResolveRequest + name -> ResolveReply + ResolvedAddress[] + names
  kReverseResolve,   // Address -> bytes (a name)
  kConnect,          // ConnectRequest -> ConnectReply. A connected UDP socket whose port is not the
                     // program's choice may come along: what the agent says of its peer (nobody
                     // there) is made an error of that socket
  kConnectOutcome,   // ConnectionRequest -> ConnectReply; waits for the agent's answer
  kListening,        // ListeningRequest, one-way: a process of the session (no longer) listens on
                     // a TCP port here; kConnect to that port on loopback answers kBypass
  kReleaseSocket,    // ConnectionRequest, one-way: the socket that came along is closed here
  kHostName,         // -> bytes
  kQuery,            // QueryRequest + name or packet -> QueryReply + the answer's packet
  kListen,           // ListenRequest: a socket that listens gets the traffic of a port of the target;
                     // answered when the agent has confirmed it
  kListenerClosed,   // ListenerRequest, one-way: perhaps nobody has that socket any more. What the
                     // kernel says of its inode decides, so inherited and passed descriptors count
  kCheckListeners,   // answered when the table of incoming traffic names no listener that is gone
};

struct LocalHeader {
  MessageType type;
  int32_t error;  // answers: 0 or an errno (kResolve: an EAI_* code); requests: 0
};

struct Hello {
  uint32_t version;
  int32_t pid;
  uint64_t process_key;  // random; the same on all connections of one process
  uint64_t parent_key;   // 0, or the process that started this image by exec (kExec was sent)
  // Followed by the program's name.
};

struct Fork {
  uint64_t child_key;  // the child starts with a copy of the sender's handles
};

struct Exec {
  uint64_t next_key;  // the image that says Hello with parent_key = the sender's takes the handles
};

using Handle = uint64_t;

// How the descriptor of a remote file behaves.
enum class FileKind : uint32_t {
  kCached,     // read-only regular file: a memfd that holds (or will hold) its bytes; its offset
               // is the file position, so dup, fork and exec share it as they should
  kStream,     // write-only: one end of a socket pair; what is written to it, by whomever, is
               // appended at the file's position. Everything else goes by message
  kDirect,     // anything else: the descriptor is a placeholder, every call goes by message
  kDirectory,  // a memfd that kList fills with linux_dirent64 records; its offset is the position
  kPath,       // opened with O_PATH: metadata only
};

struct Metadata {
  uint64_t device, inode, link_count, rdevice, size, block_size, blocks;
  uint32_t mode, user_id, group_id, padding;
  int64_t access_ns, modification_ns, change_ns;  // nanoseconds since the epoch
};

struct FsMetadata {
  int64_t type, block_size;
  uint64_t blocks, blocks_free, blocks_available, files, files_free;
  int32_t id[2];
  int64_t name_length, fragment_size, flags;
};

inline constexpr uint32_t kNoSlot = 0xFFFFFFFF;

struct OpenRequest {
  Handle directory;  // 0: the path is absolute; else a directory handle that it is relative to
  uint32_t flags;    // O_* of this machine, all of them
  uint32_t mode;     // permission bits for O_CREAT, umask already applied
  // Followed by the path (no NUL).
};

struct OpenReply {
  Handle handle;
  FileKind kind;
  uint32_t slot;      // index of a FileSlot, or kNoSlot: all bytes are in the memfd already
  uint64_t ready_end; // kCached: bytes [0, ready_end) are in the memfd
  Metadata metadata;
};

struct HandleRequest {
  Handle handle;
};

struct RangeRequest {
  Handle handle;
  uint64_t offset;  // kRead, kWrite: kAtPosition = at the file position, and move it
  uint64_t length;
  uint32_t flags;
  uint32_t padding;
};
inline constexpr uint64_t kAtPosition = ~uint64_t{0};

struct RangeReply {
  uint64_t begin, end;  // bytes of the memfd that are ready
  uint64_t file_size;   // as known now
};

struct CountReply {
  uint64_t count;
};

struct AttributeRequest {
  Handle handle;
  uint32_t mode, owner, group;
  uint32_t has_times;  // 0: now
  int64_t times[4];    // access sec, nsec (or UTIME_NOW/UTIME_OMIT), modification sec, nsec
};

struct PathRequest {
  Handle directory;  // as in OpenRequest
  uint32_t flags;    // AT_SYMLINK_NOFOLLOW, AT_REMOVEDIR, AT_EACCESS …
  uint32_t mode;     // kAccess: R_OK|W_OK|X_OK; kMakeDir, kSetModePath: permission bits
  uint32_t first_length;  // bytes of the first path; the rest is the second
  uint32_t owner, group;
  uint32_t has_times;
  int64_t times[4];
  uint64_t length;  // kTruncatePath
};

enum class Decision : uint8_t { kLocal = 0, kRemote = 1, kNotFound = 2 };

struct MapReply {
  Decision read;   // for the mapped path
  Decision write;
  uint8_t padding[6];
  // Followed by the mapped path.
};

// A socket address: family AF_INET, AF_INET6 or AF_UNIX (path, or abstract with a leading NUL).
struct Address {
  uint16_t family;
  uint16_t port;     // host order
  uint32_t length;   // AF_UNIX: bytes of `data` used
  uint8_t data[108]; // 4 or 16 address bytes in network order, or the path
};

struct ResolveRequest {
  int32_t family;     // AF_INET, AF_INET6 or AF_UNSPEC
  int32_t socket_type;
  int32_t protocol;
  int32_t flags;
  uint16_t port;
  uint16_t padding[3];
  // Followed by the name.
};

struct ResolveReply {
  uint32_t count;
  uint32_t names_size;
  // Followed by `count` ResolvedAddress, then `names_size` bytes of NUL-terminated names.
};

struct ResolvedAddress {
  Address address;
  uint32_t name_offset;
};

// Queries of any type and class to the name servers of the target's resolv.conf.
enum class QueryKind : uint32_t {
  kSend,    // a packet as it is
  kQuery,   // one name
  kSearch,  // a name, in the domains of resolv.conf as well
};

struct QueryRequest {
  QueryKind kind;
  uint16_t dns_class;
  uint16_t type;
  // Followed by the name or the packet.
};

struct QueryReply {
  int32_t host_error;  // kQuery, kSearch: 0 or an h_errno value
  int32_t error;       // an errno that goes with it, or 0
  uint32_t size;       // of the packet
  uint32_t padding;
  // Followed by the packet, if there is one.
};

enum class Transport : uint32_t { kStream, kDatagram, kSeqpacket };

struct ConnectRequest {
  Transport transport;
  uint32_t wait;       // 1: answer with the agent's outcome (blocking sockets); 0: answer after
                       // Settings::connect_grace_ms at the latest
  Address remote;
  Address local;       // the program's own bound address; the peer that the intproxy expects.
                       // Family 0: only decide (kBypass or kPending), connect nothing. Asked first
                       // when the decision is the intproxy's (kFilterNeedsNames, loopback
                       // addresses), because a bound socket cannot be unbound for a bypass
};

enum class ConnectState : uint32_t { kPending, kConnected, kBypass };

struct ConnectReply {
  uint64_t connection;
  ConnectState state;   // kBypass: a filter by name says local
  uint32_t padding;
  Address relay;        // connect (or send) here instead
  Address local;        // kConnected: the agent's own address for getsockname
};

struct ConnectionRequest {
  uint64_t connection;
};

struct ListeningRequest {
  uint16_t port;
  uint16_t is_listening;  // 0: the listener is closed
};

struct ListenRequest {
  uint64_t inode;      // of the listening socket
  Address requested;   // what the program has bound it to, as it believes
  Address actual;      // where it listens
};

struct ListenerRequest {
  uint64_t inode;
};

// ---------------------------------------------------------------------------------------------
// Incoming traffic: session file "incoming", written by the intproxy, read by hooks. A connection of a
// remote peer comes from the intproxy; accept, getpeername and getsockname find the real addresses here
// by its source port, without a message. A sparse file: what is not in use takes no memory.
//
// Every entry has a generation, odd while it is being written: a reader copies the entry and takes the
// copy if the generation was even before and the same afterwards.

struct IncomingAddress {
  uint16_t family;   // AF_INET or AF_INET6; 0: the entry is free
  uint16_t port;     // host order
  uint8_t data[16];  // network order
};

struct IncomingPeer {
  uint32_t generation;
  IncomingAddress remote;  // who connected to the target
  IncomingAddress local;   // what it connected to; the port as the program names it
  uint32_t padding;
};
static_assert(sizeof(IncomingPeer) == 48);

struct IncomingListener {
  uint32_t generation;
  IncomingAddress requested;
  IncomingAddress actual;
  uint32_t padding;
};

inline constexpr uint32_t kIncomingListeners = 256;  // more are served, but not found under their name
inline constexpr uint32_t kPortCount = 65536;

struct IncomingTable {
  IncomingListener listeners[kIncomingListeners];
  IncomingPeer from_source[kPortCount];    // from Settings::incoming_source
  IncomingPeer from_loopback6[kPortCount]; // from ::1, towards listeners that take IPv6 only. Others
                                           // connect from there too: free as soon as it is closed
};

// ---------------------------------------------------------------------------------------------
// Shared file slots: session file "slots", mapped read-write by the intproxy and by every hook.
// A reader that finds [offset, offset+length) inside [begin, end) reads the memfd without asking:
//   g = generation; check; read; if generation != g: undo and check again, or ask.
// The intproxy shrinks the window first, then bumps the generation, then frees the memory.
struct FileSlot {
  Handle handle;              // 0: free
  uint32_t generation;
  uint32_t flags;             // kSlotWriteError: `error` is set
  uint64_t begin, end;        // bytes of the memfd that are ready
  uint64_t file_size;
  uint64_t reader_position;   // stored by the hook, read by the intproxy to pace its read-ahead
  uint32_t wants_nudge;       // set by the intproxy when its read-ahead waits for the reader; the
                              // hook whose read ends at or beyond nudge_at exchanges it with 0
                              // and, if it was 1, sends kNudge
  int32_t error;              // deferred write error
  uint64_t nudge_at;
};
static_assert(sizeof(FileSlot) == 64);
inline constexpr uint32_t kSlotWriteError = 1 << 0;  // FileSlot::flags
inline constexpr uint32_t kSlotUnknownSize = 1 << 1;  // the end is not known: ask beyond `end`
inline constexpr uint32_t kSlotCount = 4096;

// ---------------------------------------------------------------------------------------------
// Settings: session file "settings", written once by the command line, mapped read-only.

struct Section {
  uint32_t offset;  // from the start of the file
  uint32_t size;    // bytes
};

enum SettingsFlags : uint32_t {
  kFilesEnabled = 1 << 0,       // file hooks act
  kDnsEnabled = 1 << 1,
  kOutgoingTcp = 1 << 2,
  kOutgoingUdp = 1 << 3,
  kIgnoreLocalhost = 1 << 4,
  kIpv6 = 1 << 5,
  kRemoteHostname = 1 << 6,
  kTcpPing4Mock = 1 << 7,
  kFilterNeedsNames = 1 << 8,   // outgoing filter has names: the intproxy decides
  kOutgoingFilterRemote = 1 << 9,   // the filter lists what is remote; else what is local
  kDnsFilterRemote = 1 << 10,
  kHideIpv6Interfaces = 1 << 11,
  kGuardStdFds = 1 << 12,
  kUnixStreams = 1 << 13,
  kTurbo = 1 << 14,             // Next.js processes get ignore_localhost
  kIncoming = 1 << 15,          // listeners get the traffic of the target's ports
  kIncomingIgnoreLocalhost = 1 << 16,  // … but not those on loopback
  kIncomingPortsOnly = 1 << 17,        // … and only those of `incoming_ports`
  kOwnFilesLocal = 1 << 18,     // paths that no rule names are local below the directory in which a
                                // program starts, and its executable: where it starts is not known
                                // beforehand (a container)
  kLogDecisions = 1 << 19,      // kLogDecision is wanted
};

struct Settings {
  uint64_t magic;  // kSettingsMagic
  uint32_t version;
  uint32_t size;   // of the whole file
  uint32_t flags;
  uint32_t connect_grace_ms;  // how long a non-blocking connect may wait for the agent's answer
  Section socket_path;        // text, no NUL
  Section session_directory;  // text
  Section hook_path;          // text: what LD_PRELOAD must name
  Section path_automaton;     // PathAutomaton, decides for every path
  Section unix_automaton;     // PathAutomaton over UNIX socket paths: kRemote = connect remotely
  Section outgoing_filter;    // FilterRule[]
  Section dns_filter;         // FilterRule[]
  Section filter_names;       // NUL-terminated names that FilterRule::name points into
  Section skip_processes;     // NUL-terminated names: in these programs the hook stays inert
  Section ignored_ports;      // PortRange[] (debugger ports on loopback)
  Section environment;        // NUL-terminated NAME=value entries that every process of the
                              // session must have (repaired on exec)
  Section unset;              // NUL-terminated names to remove from the environment
  Section incoming_ports;     // uint16_t[] of the target: kIncomingPortsOnly
  Section incoming_ignored;   // uint16_t[] as programs name them
  Section port_mapping;       // PortPair[]: other = the target's port
  Section listen_ports;       // PortPair[]: other = the port to bind here
  uint8_t incoming_source[4]; // 127.x.y.z: where stolen and mirrored connections come from here. No
                              // other program connects from it, so that a peer with this address has
                              // its entry in the incoming table
  uint32_t padding;
};
inline constexpr uint64_t kSettingsMagic = 0x6472'6f72'7269'6d31;  // "1mirrord"

struct PortRange {
  uint16_t first, last;
};

struct PortPair {
  uint16_t program;  // as programs name it
  uint16_t other;
};

enum class FilterProtocol : uint8_t { kAny, kTcp, kUdp };
enum class FilterKind : uint8_t { kPort, kSocket, kName, kSubnet };

struct FilterRule {
  FilterProtocol protocol;
  FilterKind kind;
  uint8_t family;         // AF_INET or AF_INET6 for kSocket, kSubnet
  uint8_t prefix_length;  // kSubnet
  uint16_t port;          // 0: any
  uint16_t padding;
  uint8_t address[16];    // all zero in kSocket: any address
  uint32_t name;          // kName: offset in filter_names
};

// A deterministic automaton over the bytes of an absolute path. Start at `start`; for each byte
// state = transitions[state * class_count + classes[byte]]; at the end of the path the outcome of
// the state holds. All user and default patterns are compiled into it by the command line.
struct PathAutomaton {
  uint32_t state_count;
  uint32_t class_count;
  uint32_t start;
  uint32_t padding;
  uint8_t classes[256];
  // Followed by uint8_t outcomes[state_count], padded to 4 bytes, then
  // uint32_t transitions[state_count * class_count].
};
// An outcome: bits 0-1 the Decision for reading, bits 2-3 for writing, bit 4: a mapping pattern
// matches, ask with kMapPath.
inline constexpr uint8_t kOutcomeMap = 1 << 4;
// Remote because no rule names the path: what kOwnFilesLocal is about.
inline constexpr uint8_t kOutcomeUnnamed = 1 << 5;
constexpr Decision read_decision(uint8_t outcome) { return static_cast<Decision>(outcome & 3); }
constexpr Decision write_decision(uint8_t outcome) {
  return static_cast<Decision>((outcome >> 2) & 3);
}

// Environment of a session's processes.
inline constexpr char kSessionVariable[] = "MIRRORD_SESSION";      // path of the session directory
inline constexpr char kInheritedVariable[] = "MIRRORD_INHERITED";  // key and fd:handle pairs, exec
inline constexpr char kLoadVariable[] = "MIRRORD_LOAD_ENVIRONMENT";  // load kEnvironmentFile
inline constexpr char kSettingsFile[] = "settings";
inline constexpr char kEnvironmentFile[] = "environment";  // NAME=value, each with a NUL
inline constexpr char kSlotsFile[] = "slots";
inline constexpr char kIncomingFile[] = "incoming";
inline constexpr char kSocketFile[] = "intproxy.sock";
inline constexpr char kNewSocketFile[] = "intproxy.sock.new";  // until it listens

// clang-format on

}  // namespace mirrord::local
