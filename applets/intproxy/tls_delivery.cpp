// applets/intproxy/tls_delivery.cpp — certificates from files, names from connections, TLS around sockets.
#include "applets/intproxy/tls_delivery.h"

#include <algorithm>
#include <iterator>
#include <utility>
#include <vector>

#include "net/file.h"
#include "net/tls_context.h"

namespace mirrord::intproxy {
namespace {

constexpr const char* kKey = "feature.network.incoming.tls_delivery";
constexpr std::size_t kMaxPem = 1 << 20;
constexpr std::string_view kBegin = "-----BEGIN CERTIFICATE-----";

std::string read_pem(const std::string& path) {
  const std::string text = net::read_file(path, kMaxPem).value_or("");
  return text.find(kBegin) == std::string::npos ? std::string() : text + "\n";
}

std::unexpected<Error> wrong(const std::string& key, const std::string& path,
                             const std::string& why) {
  return fail(ErrorCode::kConfig, std::string(kKey) + "." + key + ": " + path + ": " + why,
              "Name a file of certificates in PEM form.");
}

Result<std::string> read_roots(const std::vector<std::string>& paths) {
  std::string all;
  for (const std::string& path : paths) {
    std::string found = read_pem(path);
    for (const std::string& file : net::files_in(path))
      found += read_pem(file);
    if (found.empty())
      return wrong("trust_roots", path, "no certificate can be read there");
    all += found;
  }
  return all;
}

std::string_view without_port(std::string_view host) {
  if (host.starts_with('['))
    return host.substr(1, host.find(']') - 1);
  return host.substr(0, host.find(':'));
}

}  // namespace

Result<TlsTrust> load_tls_trust(const std::optional<config::TlsDelivery>& delivery) {
  TlsTrust trust;
  if (!delivery)
    return trust;
  trust.uses_tls = delivery->uses_tls;
  trust.server_name = delivery->server_name;
  if (!trust.uses_tls)
    return trust;
  if (!delivery->server_cert.empty()) {
    trust.certificate = read_pem(delivery->server_cert);
    if (trust.certificate.empty())
      return wrong("server_cert", delivery->server_cert, "no certificate can be read there");
    auto name = net::first_certificate_name(trust.certificate);
    if (!name)
      return wrong("server_cert", delivery->server_cert, name.error().what);
    if (trust.server_name.empty())
      trust.server_name = *name;
  } else if (!delivery->trust_roots.empty()) {
    MIRRORD_TRY(roots, read_roots(delivery->trust_roots));
    trust.roots = std::move(roots);
    auto context = net::TlsContext::make({.role = net::TlsRole::kClient, .trusted = trust.roots});
    if (!context)
      return fail(ErrorCode::kConfig, std::string(kKey) + ".trust_roots: " + context.error().what);
  }
  return trust;
}

TlsDelivery::~TlsDelivery() {
  *alive_ = false;
  for (const auto& [id, pump] : pumps_)
    handlers_.closing(pump.socket);
}

TlsDelivery::Way TlsDelivery::way(const proto::IncomingTrafficTransportType& transport,
                                  std::string_view host) const {
  const auto* tls = transport.get_if<"Tls">();
  if (tls == nullptr || !trust_.uses_tls)
    return {};
  Way way{.is_tls = true, .server_name = trust_.server_name, .alpn = {}};
  if (way.server_name.empty())
    way.server_name = tls->server_name.value_or(std::string(without_port(host)));
  if (way.server_name.empty())
    way.server_name = "localhost";
  if (tls->alpn_protocol)
    way.alpn = tls->alpn_protocol->text();
  return way;
}

Result<Fd> TlsDelivery::wrap(Fd socket, const Way& way) {
  if (!way.is_tls)
    return socket;
  net::TlsOptions options{.role = net::TlsRole::kClient,
                          .trusted = trust_.roots,
                          .accepts_any = trust_.roots.empty() && trust_.certificate.empty(),
                          .expected = trust_.certificate,
                          .peer_name = way.server_name};
  if (!way.alpn.empty())
    options.alpn = {way.alpn};
  const int fd = socket.get();
  auto context = net::TlsContext::make(std::move(options));
  if (!context) {
    handlers_.closing(fd);
    return std::unexpected(std::move(context.error()));
  }
  const std::uint64_t id = next_id_++;
  auto pump =
      std::make_unique<net::TlsPump>(loop_, *context, std::move(socket), "the local program");
  net::TlsPump::Handlers handlers;
  handlers.ready = [this, id, wanted = way.alpn](std::string_view agreed) {
    if (wanted == "h2" && agreed != wanted)
      ended(id, Error{ErrorCode::kPeer, "the local program does not speak HTTP/2 over TLS", {}, 0});
  };
  handlers.ended = [this, id](const std::optional<Error>& why) { ended(id, why); };
  auto plain = pump->start(std::move(handlers));
  if (plain)
    pumps_.emplace(id, Pump{std::move(pump), fd});
  else
    handlers_.closing(fd);
  return plain;
}

void TlsDelivery::ended(std::uint64_t id, const std::optional<Error>& why) {
  if (why)
    handlers_.warn(why->what);
  loop_.defer([this, id, alive = alive_] {
    if (*alive)
      drop(id);
  });
}

void TlsDelivery::drop(std::uint64_t id) {
  if (const auto found = pumps_.find(id); found != pumps_.end()) {
    handlers_.closing(found->second.socket);
    pumps_.erase(found);
  }
}

}  // namespace mirrord::intproxy
