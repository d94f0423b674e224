// applets/agent/incoming/incoming.cpp — subscriptions, their redirects, and where a connection goes.
#include "applets/agent/incoming/incoming.h"

#include <algorithm>
#include <string>
#include <utility>

#include "applets/agent/incoming/client_part.h"
#include "applets/agent/incoming/detection.h"
#include "applets/agent/incoming/http_connection.h"
#include "proto/errors.h"

namespace mirrord::agent {
namespace {

constexpr std::chrono::milliseconds kSweepPeriod{2000};

// The text is the point: whoever subscribes has to do something about it.
proto::ResponseError to_wire(const Error& error) {
  const std::string text = error.hint.empty() ? error.what : error.what + ". " + error.hint;
  auto kind = error.code == ErrorCode::kPermission
                  ? proto::ErrorKindInternal::make<"PermissionDenied">()
                  : proto::ErrorKindInternal::make<"Unknown">(text);
  std::optional<proto::i32> number;
  if (error.sys != 0)
    number = error.sys;
  return proto::ResponseError::make<"RemoteIO">(number, std::move(kind));
}

}  // namespace

Incoming::Incoming(net::Loop& loop, IncomingSettings settings, MakeRedirector make_redirector,
                   std::unique_ptr<TlsPorts> tls)
    : loop_(loop),
      settings_(settings),
      make_redirector_(std::move(make_redirector)),
      tls_(std::move(tls)),
      sweep_(loop),
      last_(loop) {}

Incoming::~Incoming() {
  *alive_ = false;
}

// ---- subscriptions

bool Incoming::has_conflict(const Port& port, const IncomingClient& client,
                            bool is_filtered) const {
  return std::ranges::any_of(port.subscriptions, [&](const Subscription& other) {
    return other.mode == IncomingMode::kSteal && other.client != &client &&
           !(is_filtered && other.filter);
  });
}

// Whoever cannot steal beside the new stealer loses its subscription, and is told.
void Incoming::displace(Port& port, proto::Port number, const IncomingClient& client,
                        bool is_filtered) {
  std::erase_if(port.subscriptions, [&](const Subscription& other) {
    if (other.mode != IncomingMode::kSteal || other.client == &client ||
        (is_filtered && other.filter))
      return false;
    other.client->displaced(number, is_filtered);
    return true;
  });
}

void Incoming::subscribe(IncomingClient& client, IncomingMode mode, proto::Port number,
                         std::optional<proto::HttpFilter> filter, Subscribed done) {
  const bool is_filtered = filter.has_value();
  std::optional<CompiledHttpFilter> compiled;
  if (is_filtered) {
    auto outcome = CompiledHttpFilter::compile(*filter);
    if (!outcome) {
      return loop_.defer([error = to_wire(outcome.error()), done = std::move(done)]() mutable {
        done(std::unexpected(std::move(error)));
      });
    }
    compiled = std::move(*outcome);
  }
  Port& port = ports_[number];
  if (mode == IncomingMode::kSteal) {
    if (settings_.on_concurrent_steal == OnConcurrentSteal::kRefuse &&
        has_conflict(port, client, is_filtered)) {
      return loop_.defer([number, done = std::move(done)]() mutable {
        done(std::unexpected(proto::ResponseError::make<"PortAlreadyStolen">(number)));
      });
    }
    displace(port, number, client, is_filtered);
    if (!is_filtered && std::ranges::count(settings_.probe_ports, number) > 0)
      client.takes_probes(number);
  }
  const auto own = std::ranges::find_if(port.subscriptions, [&](const Subscription& other) {
    return other.client == &client && other.mode == mode;
  });
  if (own != port.subscriptions.end())
    own->filter = std::move(compiled);  // and keeps its place in the order
  else
    port.subscriptions.push_back({&client, mode, std::move(compiled)});
  port.waiting.push_back(std::move(done));
  adjust(number);
}

void Incoming::unsubscribe(IncomingClient& client, IncomingMode mode, proto::Port number) {
  const auto port = ports_.find(number);
  if (port == ports_.end())
    return;
  std::erase_if(port->second.subscriptions, [&](const Subscription& subscription) {
    return subscription.client == &client && subscription.mode == mode;
  });
  adjust(number);
}

void Incoming::forget(IncomingClient& client) {
  for (auto& [number, port] : ports_) {
    const auto gone = std::erase_if(port.subscriptions, [&](const Subscription& subscription) {
      return subscription.client == &client;
    });
    if (gone != 0)
      loop_.defer([this, number, alive = alive_] {
        if (*alive)
          adjust(number);
      });
  }
}

// Brings the redirect of a port to what its subscriptions need: one step at a time, each followed
// by another look.
void Incoming::adjust(proto::Port number) {
  const auto found = ports_.find(number);
  if (found == ports_.end())
    return;
  Port& port = found->second;
  const bool is_wanted = !port.subscriptions.empty();
  using Redirect = Port::Redirect;
  if (port.redirect == Redirect::kOn && !port.waiting.empty()) {
    return loop_.defer([this, number, alive = alive_] {
      if (*alive)
        confirm(number);
    });
  }
  if (port.redirect == Redirect::kOn && !is_wanted) {
    port.redirect = Redirect::kStopping;
    redirector_->remove_port(number, [this, number, alive = alive_](const Status&) {
      if (*alive) {
        Port& stopped = ports_.at(number);
        stopped.redirect = Redirect::kOff;
        stopped.established.reset();
        adjust(number);
      }
    });
  } else if (port.redirect == Redirect::kOff && !is_wanted && port.waiting.empty()) {
    ports_.erase(found);
  } else if (port.redirect == Redirect::kOff) {
    port.redirect = Redirect::kStarting;
    if (!redirector_) {
      auto made =
          make_redirector_([this](Redirected connection) { accepted(std::move(connection)); });
      if (!made) {
        return loop_.defer([this, number, alive = alive_, error = made.error()] {
          if (*alive)
            started(number, std::unexpected(error));
        });
      }
      redirector_ = std::move(*made);
    }
    if (settings_.cuts_established) {
      if (auto established = EstablishedConnections::find(number))
        port.established = std::move(*established);
      else
        for (const Subscription& subscription : port.subscriptions)
          subscription.client->link().log_warning(established.error().what);
    }
    redirector_->add_port(number, [this, number, alive = alive_](const Status& status) {
      if (*alive)
        started(number, status);
    });
  }
}

void Incoming::started(proto::Port number, const Status& status) {
  Port& port = ports_.at(number);
  port.redirect = status ? Port::Redirect::kOn : Port::Redirect::kOff;
  if (status)
    return confirm(number);
  for (const Subscription& subscription : std::exchange(port.subscriptions, {}))
    subscription.client->refused(number, status.error());
  for (Subscribed& done : std::exchange(port.waiting, {}))
    done(std::unexpected(to_wire(status.error())));
  adjust(number);
}

void Incoming::confirm(proto::Port number) {
  const auto port = ports_.find(number);
  if (port == ports_.end() || port->second.redirect != Port::Redirect::kOn)
    return;
  cut_established(number, port->second);
  for (Subscribed& done : std::exchange(port->second.waiting, {}))
    done(number);
  adjust(number);
}

void Incoming::cut_established(proto::Port number, Port& port) {
  const auto stealer =
      std::ranges::find(port.subscriptions, IncomingMode::kSteal, &Subscription::mode);
  if (!port.established || stealer == port.subscriptions.end())
    return;
  const auto cut = std::exchange(port.established, std::nullopt)->cut();
  ClientLink& link = stealer->client->link();
  if (!cut)
    link.log_warning(cut.error().what);
  else if (*cut > 0)
    link.log_info("cut " + std::to_string(*cut) + " connections to port " + std::to_string(number) +
                  " that were there before");
}

// ---- connections

void Incoming::accepted(Redirected connection) {
  const auto peer = net::Endpoint::from_sockaddr(connection.peer);
  const auto destination = net::Endpoint::from_sockaddr(connection.destination);
  if (!peer || !destination)
    return;
  const Origin origin{*peer, *destination, proto::IncomingTrafficTransportType::make<"Tcp">()};
  if (tls_ && tls_->has(destination->port))
    decrypt(std::move(connection.socket), origin);
  else
    sort(std::move(connection.socket), origin);
}

// What does not shake hands properly has failed, as it would have at the target.
void Incoming::decrypt(Fd socket, const Origin& origin) {
  const auto ready = [this, origin](Fd plain, proto::IncomingTrafficTransportType transport) {
    Origin decrypted = origin;
    decrypted.transport = std::move(transport);
    sort(std::move(plain), decrypted);
  };
  const Status started = tls_->accept(std::move(socket), origin.destination.port, ready);
  if (started)
    return;
  if (const auto port = ports_.find(origin.destination.port); port != ports_.end()) {
    for (const Subscription& subscription : port->second.subscriptions)
      subscription.client->refused(origin.destination.port, started.error());
  }
}

void Incoming::sort(Fd socket, const Origin& origin) {
  using net::http::Protocol;
  if (!has_filters(origin.destination.port))
    return route(std::move(socket), origin, Protocol::kDetect);
  // What TLS has agreed on need not be detected.
  const auto* tls = origin.transport.get_if<"Tls">();
  if (tls == nullptr || !tls->alpn_protocol)
    return detect(std::move(socket), origin);
  const std::string_view alpn = tls->alpn_protocol->text();
  const bool is_http1 = alpn == "http/1.1" || alpn == "http/1.0";
  route(std::move(socket), origin,
        alpn == "h2" ? Protocol::kHttp2
        : is_http1   ? Protocol::kHttp1
                     : Protocol::kDetect);
}

bool Incoming::has_filters(proto::Port number) const {
  const auto port = ports_.find(number);
  return port != ports_.end() &&
         std::ranges::any_of(port->second.subscriptions, [](const Subscription& subscription) {
           return subscription.filter.has_value();
         });
}

// Only where a filter needs it: protocols in which the server speaks first wait here in vain.
void Incoming::detect(Fd socket, const Origin& origin) {
  const auto protocol = [](HttpDetection::Detected what) {
    switch (what) {
      case HttpDetection::Detected::kHttp1:
        return net::http::Protocol::kHttp1;
      case HttpDetection::Detected::kHttp2:
        return net::http::Protocol::kHttp2;
      case HttpDetection::Detected::kNeedsMore:
      case HttpDetection::Detected::kOther:
        break;
    }
    return net::http::Protocol::kDetect;  // it is something else
  };
  auto detection =
      std::make_unique<HttpDetection>(loop_, std::move(socket), settings_.detection_timeout);
  const std::uint64_t id = next_id_++;
  const auto known =
      detection->start([this, id, origin, protocol](Fd taken, HttpDetection::Detected what) {
        undetected_.erase(id);
        route(std::move(taken), origin, protocol(what));
      });
  if (known)
    route(detection->take_socket(), origin, protocol(*known));
  else
    undetected_.emplace(id, std::move(detection));
}

// `protocol`: kDetect for what is not HTTP, or need not be taken apart.
void Incoming::route(Fd socket, const Origin& origin, net::http::Protocol protocol) {
  const bool is_http =
      protocol != net::http::Protocol::kDetect && has_filters(origin.destination.port);
  PassThrough::Copies copies;
  IncomingClient* stealer = nullptr;
  if (const auto port = ports_.find(origin.destination.port); port != ports_.end()) {
    for (const Subscription& subscription : port->second.subscriptions) {
      if (subscription.filter)
        continue;
      if (subscription.mode == IncomingMode::kMirror)
        copies.push_back(subscription.client->mirror(origin));
      else
        stealer = subscription.client;
    }
  }
  if (is_http && (stealer == nullptr || stealer->takes_unfiltered_requests()))
    serve(std::move(socket), origin, protocol, std::move(copies));
  else if (stealer != nullptr)
    stealer->steal(std::move(socket), origin, std::move(copies));
  else
    pass_through(std::move(socket), origin, std::move(copies));
}

void Incoming::pass_through(Fd socket, const Origin& origin, PassThrough::Copies copies) {
  const std::uint64_t id = next_id_++;
  const auto ended = [this, id, alive = alive_] {
    loop_.defer([this, id, alive] {
      if (*alive) {
        passed_.erase(id);
        check_finished();
      }
    });
  };
  passed_.emplace(id, std::make_unique<PassThrough>(loop_, buffer_, std::move(socket),
                                                    upstream(origin), std::move(copies), ended));
}

Upstream Incoming::upstream(const Origin& origin) {
  Upstream way{*redirector_, origin.destination, {}};
  if (tls_ && origin.transport.is<"Tls">())
    way.secure = [this, origin](Fd socket) { return tls_->connect(std::move(socket), origin); };
  return way;
}

void Incoming::serve(Fd socket, const Origin& origin, net::http::Protocol protocol,
                     PassThrough::Copies copies) {
  const std::uint64_t id = next_id_++;
  const auto ended = [this, id, alive = alive_] {
    loop_.defer([this, id, alive] {
      if (*alive) {
        http_.erase(id);
        check_finished();
      }
    });
  };
  http_.emplace(
      id, std::make_unique<HttpConnection>(loop_, *this, buffer_, std::move(socket), origin,
                                           protocol, upstream(origin), std::move(copies), ended));
  if (!std::exchange(is_sweeping_, true)) {
    sweep_.start_repeating(kSweepPeriod, [this] {
      const std::uint64_t now = loop_.now_ms();
      for (const auto& [key, connection] : http_)
        connection->tick(now);
      if (http_.empty()) {
        sweep_.stop();
        is_sweeping_ = false;
      }
    });
  }
}

// ---- the end

void Incoming::finish(std::chrono::milliseconds limit, net::Callback done) {
  finished_ = std::move(done);
  for (const auto& [id, connection] : http_)
    connection->shut_down();
  last_.start(limit, [this] { std::exchange(finished_, {})(); });
  loop_.defer([this, alive = alive_] {
    if (*alive)
      check_finished();
  });
}

void Incoming::check_finished() {
  if (finished_ && http_.empty() && passed_.empty() && undetected_.empty()) {
    last_.stop();
    std::exchange(finished_, {})();
  }
}

// ---- requests

// Mirrors without a filter have the connection's bytes already.
Incoming::Choice Incoming::choose(proto::Port number, const net::http::RequestHead& head,
                                  const std::optional<Body>& body) const {
  using Verdict = CompiledHttpFilter::Verdict;
  Choice choice;
  const auto port = ports_.find(number);
  if (port == ports_.end())
    return choice;
  // The kubelet asks the target how it is, whatever a filter says: a wrong answer would end the pod.
  const bool is_for_target =
      settings_.passes_probes &&
      head.headers.find("user-agent").value_or("").starts_with("kube-probe/");
  for (const Subscription& subscription : port->second.subscriptions) {
    const bool steals = subscription.mode == IncomingMode::kSteal;
    if (steals && (choice.stealer != nullptr || is_for_target ||
                   !subscription.client->takes(head, subscription.filter.has_value())))
      continue;
    if (subscription.filter) {
      const Verdict verdict =
          body ? subscription.filter->match(head, *body) : subscription.filter->match(head);
      if (verdict == Verdict::kNeedsBody)
        return {.needs_body = true};
      if (verdict == Verdict::kGaveUp)
        subscription.client->filter_gave_up(number);
      if (verdict != Verdict::kMatch)
        continue;
    } else if (!steals) {
      continue;
    }
    if (steals)
      choice.stealer = subscription.client;
    else
      choice.mirrors.push_back(subscription.client);
  }
  return choice;
}

}  // namespace mirrord::agent
