// applets/agent/incoming/tls_ports.cpp — contexts from the target's files, pumps for their connections.
#include "applets/agent/incoming/tls_ports.h"

#include <cjson/cJSON.h>
#include <dirent.h>
#include <fcntl.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "net/base64.h"

namespace mirrord::agent {
namespace {

constexpr const char* kVariable = "MIRRORD_AGENT_STEAL_TLS_CONFIG";
// Contexts differ in the name that the client has asked for, which it may make up.
constexpr std::size_t kMaxContexts = 64;
constexpr std::size_t kMaxRoots = 1 << 20;

const cJSON* member(const cJSON* object, const char* name) {
  return cJSON_GetObjectItemCaseSensitive(object, name);
}

std::string text(const cJSON* object, const char* name) {
  const char* value = cJSON_GetStringValue(member(object, name));
  return value == nullptr ? std::string() : std::string(value);
}

std::vector<std::string> texts(const cJSON* object, const char* name) {
  std::vector<std::string> result;
  const cJSON* item = nullptr;
  cJSON_ArrayForEach(item, member(object, name)) {
    if (const char* value = cJSON_GetStringValue(item))
      result.emplace_back(value);
  }
  return result;
}

TlsSide side_of(const cJSON* object) {
  TlsSide side;
  const cJSON* authentication = member(object, "authentication");
  const cJSON* verification = member(object, "verification");
  side.certificate = text(authentication, "certPem");
  side.key = text(authentication, "keyPem");
  side.trust_roots = texts(verification, "trustRoots");
  side.accepts_any = cJSON_IsTrue(member(verification, "acceptAnyCert")) != 0;
  side.allows_anonymous = cJSON_IsTrue(member(verification, "allowAnonymous")) != 0;
  side.verifies = cJSON_IsObject(verification) != 0;
  side.alpn = texts(object, "alpnProtocols");
  return side;
}

struct CloseDirectory {
  void operator()(DIR* directory) const { ::closedir(directory); }
};

std::unexpected<Error> wrong(const std::string& why) {
  return fail(ErrorCode::kConfig, std::string(kVariable) + ": " + why);
}

}  // namespace

Result<std::map<std::uint16_t, TlsPort>> parse_tls_ports(std::string_view text) {
  std::map<std::uint16_t, TlsPort> ports;
  if (text.empty())
    return ports;
  std::string padded(text);
  padded.append((4 - padded.size() % 4) % 4, '=');
  const auto json = net::from_base64(padded);
  if (!json)
    return wrong("it is not base64");
  const std::unique_ptr<cJSON, decltype(&cJSON_Delete)> list(
      cJSON_ParseWithLength(json->data(), json->size()), &cJSON_Delete);
  if (cJSON_IsArray(list.get()) == 0)
    return wrong("it holds no JSON array");
  const cJSON* item = nullptr;
  cJSON_ArrayForEach(item, list.get()) {
    const cJSON* port = member(item, "port");
    if (cJSON_IsNumber(port) == 0 || port->valuedouble < 1 || port->valuedouble > 65535)
      return wrong("an entry has no `port` from 1 to 65535");
    TlsPort parsed{side_of(member(item, "agentAsServer")), side_of(member(item, "agentAsClient"))};
    const auto number = static_cast<std::uint16_t>(port->valuedouble);
    if (parsed.server.certificate.empty() || parsed.server.key.empty())
      return wrong("port " + std::to_string(number) +
                   " has no `agentAsServer.authentication` with `certPem` and `keyPem`");
    if (parsed.client.trust_roots.empty() && !parsed.client.accepts_any)
      return wrong(
          "port " + std::to_string(number) +
          " has no `agentAsClient.verification`: neither `trustRoots` nor `acceptAnyCert`");
    ports.insert_or_assign(number, std::move(parsed));
  }
  return ports;
}

Result<std::string> TlsPorts::read(const std::string& path) const {
  if (path.empty())
    return std::string();
  std::string content = read_in_root(target_, path.c_str());
  if (content.empty())
    return fail_system("read " + path + " of the target", errno == 0 ? ENODATA : errno);
  return content;
}

// Files, or directories of files. What cannot be read is passed over.
std::string TlsPorts::read_roots(const std::vector<std::string>& paths) const {
  std::string all;
  const auto add = [&](const std::string& path) {
    const std::string content = read_in_root(target_, path.c_str());
    if (content.find("-----BEGIN CERTIFICATE-----") != std::string::npos &&
        all.size() + content.size() < kMaxRoots)
      all += content + "\n";
  };
  for (const std::string& path : paths) {
    Fd directory = open_in_root(target_, path.c_str(), O_RDONLY | O_DIRECTORY);
    if (!directory) {
      add(path);
      continue;
    }
    const std::unique_ptr<DIR, CloseDirectory> entries(::fdopendir(directory.get()));
    if (!entries)
      continue;
    (void)directory.release();  // the stream's now
    while (const dirent* entry =
               ::readdir(entries.get())) {  // NOLINT(concurrency-mt-unsafe): its own stream
      if (entry->d_name[0] != '.')
        add(path + "/" + entry->d_name);
    }
  }
  return all;
}

Result<std::shared_ptr<net::TlsContext>> TlsPorts::context(const std::string& key,
                                                           const TlsSide& side,
                                                           net::TlsOptions options) {
  if (const auto known = contexts_.find(key); known != contexts_.end())
    return known->second;
  MIRRORD_TRY(certificate, read(side.certificate));
  MIRRORD_TRY(private_key, read(side.key));
  options.certificate = std::move(certificate);
  options.key = std::move(private_key);
  const bool is_server = options.role == net::TlsRole::kServer;
  options.accepts_any = side.accepts_any;
  if (!side.accepts_any && (side.verifies || !is_server)) {
    options.trusted = read_roots(side.trust_roots);
    options.is_peer_optional = is_server && side.allows_anonymous;
    if (options.trusted.empty() && !options.is_peer_optional)
      return fail(ErrorCode::kConfig,
                  std::string(kVariable) + ": none of the `trustRoots` can be read in the target");
  }
  MIRRORD_TRY(made, net::TlsContext::make(std::move(options)));
  if (contexts_.size() >= kMaxContexts)
    contexts_.clear();
  contexts_.emplace(key, made);
  return made;
}

Status TlsPorts::accept(Fd socket, std::uint16_t port, Ready ready) {
  const TlsSide& side = ports_.at(port).server;
  auto made = context("server " + std::to_string(port), side,
                      {.role = net::TlsRole::kServer, .alpn = side.alpn});
  if (!made)
    return std::unexpected(std::move(made.error()));
  const std::uint64_t id = next_id_++;
  auto& pump = pumps_[id];
  pump = std::make_unique<net::TlsPump>(loop_, *made, std::move(socket), "the remote client");
  const auto plain = std::make_shared<Fd>();
  net::TlsPump::Handlers handlers;
  handlers.ready = [&own = *pump, plain, ready = std::move(ready)](std::string_view alpn) mutable {
    proto::IncomingTrafficTransportTypeTls tls;
    if (!alpn.empty())
      tls.alpn_protocol = proto::Bytes(alpn);
    if (!own.server_name().empty())
      tls.server_name = own.server_name();
    ready(std::move(*plain), proto::IncomingTrafficTransportType::make<"Tls">(std::move(tls)));
  };
  handlers.ended = [this, id](const std::optional<Error>&) { drop(id); };
  auto started = pump->start(std::move(handlers));
  if (!started) {
    pumps_.erase(id);
    return std::unexpected(std::move(started.error()));
  }
  *plain = std::move(*started);
  return {};
}

Result<Fd> TlsPorts::connect(Fd socket, const Origin& origin) {
  const auto* tls = origin.transport.get_if<"Tls">();
  const auto port = ports_.find(origin.destination.port);
  if (tls == nullptr || port == ports_.end())
    return socket;
  net::TlsOptions options{.role = net::TlsRole::kClient};
  options.peer_name = tls->server_name.value_or(origin.destination.ip.to_string());
  if (tls->alpn_protocol)
    options.alpn = {std::string(tls->alpn_protocol->text())};
  const std::string key = "client " + std::to_string(origin.destination.port) + " " +
                          options.peer_name + " " + (options.alpn.empty() ? "" : options.alpn[0]);
  MIRRORD_TRY(made, context(key, port->second.client, std::move(options)));
  const std::uint64_t id = next_id_++;
  auto& pump = pumps_[id];
  pump = std::make_unique<net::TlsPump>(loop_, made, std::move(socket), "the target");
  net::TlsPump::Handlers handlers;
  handlers.ended = [this, id](const std::optional<Error>&) { drop(id); };
  auto plain = pump->start(std::move(handlers));
  if (!plain)
    pumps_.erase(id);
  return plain;
}

void TlsPorts::drop(std::uint64_t id) {
  loop_.defer([this, id, alive = alive_] {
    if (*alive)
      pumps_.erase(id);
  });
}

}  // namespace mirrord::agent
