// tests/unit/k8s/tls_api_test.cpp — the API client over TLS: whom it trusts, under which name, and
// servers that speak HTTP/1.1 only.
#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <atomic>

#include "k8s/api_client.h"
#include "net/tls.h"
#include "tests/unit/k8s/api_server.h"

namespace mirrord::k8s {
namespace {

constexpr char kName[] = "kubernetes.test";
constexpr std::chrono::milliseconds kPatience{20'000};

// Of a test user, for nothing else; valid for a hundred years.
constexpr char kUserCertificate[] = R"(-----BEGIN CERTIFICATE-----
MIIBjjCCATSgAwIBAgIUWUJFs6Ek2csV55BDq7zvJ8rg0wwwCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJdXNlci50ZXN0MCAXDTI2MTEyNjAyNDkzNloYDzIxMjYxMTAy
MDI0OTM2WjAUMRIwEAYDVQQDDAl1c2VyLnRlc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAATlJJppyPCu+5tw1W9jXpc+OhCL30DTmC6upHezjLd4srKs0uFUgHFq
lt/PIVIerrsGnyrhPKngEWjTAQ+oIgrOo2IwYDAdBgNVHQ4EFgQUuHsgc/FC00Yy
RobaDUfztZBi4DEwHwYDVR0jBBgwFoAUuHsgc/FC00YyRobaDUfztZBi4DEwEwYD
VR0lBAwwCgYIKwYBBQUHAwIwCQYDVR0TBAIwADAKBggqhkjOPQQDAgNIADBFAiAk
0A/v88jNitFdppLBWwcIK15YeNJafKw1crHfSi0RzAIhAINTCAAK0PRyCMtC6tZK
+DCLE442q0Es3oDHjRaaz2Bx
-----END CERTIFICATE-----
)";
constexpr char kUserKey[] = R"(-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgkyz75aIGju9vHLVL
woTY/E/svBVLPBkkv1sacBpR/V2hRANCAATlJJppyPCu+5tw1W9jXpc+OhCL30DT
mC6upHezjLd4srKs0uFUgHFqlt/PIVIerrsGnyrhPKngEWjTAQ+oIgrO
-----END PRIVATE KEY-----
)";

// Takes TLS connections on the client's own loop and hands what is inside to a test server.
class TlsFront {
 public:
  TlsFront(net::Loop& loop, TestApiServer& server, net::TlsOptions options)
      : loop_(loop), server_(server), listener_(test::listen_on_loopback()) {
    options.role = net::TlsRole::kServer;
    context_ = *net::TlsContext::make(std::move(options));
    watcher_ = std::make_unique<net::FdWatcher>(loop_, listener_.socket.get(),
                                                [this](int) { accept_one(); });
    watcher_->watch(net::FdWatcher::kReadable);
  }

  [[nodiscard]] std::string url() const {
    return "https://127.0.0.1:" + std::to_string(listener_.port);
  }

 private:
  void accept_one() {
    Fd socket(::accept4(listener_.socket.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!socket) {
      return;
    }
    pumps_.push_back(
        std::make_unique<net::TlsPump>(loop_, context_, std::move(socket), "the client"));
    auto inside = pumps_.back()->start({});
    ::fcntl(inside->get(), F_SETFL, ::fcntl(inside->get(), F_GETFL) & ~O_NONBLOCK);
    server_.adopt(std::move(*inside));
  }

  net::Loop& loop_;
  TestApiServer& server_;
  test::Listener listener_;
  std::shared_ptr<net::TlsContext> context_;
  std::unique_ptr<net::FdWatcher> watcher_;
  std::vector<std::unique_ptr<net::TlsPump>> pumps_;
};

class TlsApi : public ::testing::Test {
 protected:
  static const net::TlsIdentity& identity() {
    static const net::TlsIdentity made = *net::make_tls_identity(kName);
    return made;
  }
  static net::TlsOptions options() {
    net::TlsOptions made;
    made.certificate = identity().certificate;
    made.key = identity().key;
    return made;
  }
  ClientConfig config(const TlsFront& front) {
    ClientConfig made;
    made.server = front.url();
    made.context = "test";
    made.ca_pem = identity().certificate;
    made.server_name = kName;
    return made;
  }

  net::Loop loop_;
  std::atomic<int> arrived_ = 0;
  TestApiServer server_{[this](const TestRequest& request, TestConnection& connection) {
    if (request.path == "/stream") {
      connection.open_stream();
      connection.wait_for_client();
      return;
    }
    ++arrived_;
    connection.answer(200, R"({"host":")" + request.header("Host") + "\"}");
  }};
};

TEST_F(TlsApi, TheNameForTlsIsNotThatOfTheRequest) {
  TlsFront front(loop_, server_, options());
  ApiClient client(loop_, config(front));
  const auto answer = client.begin_get("/version").wait();
  ASSERT_TRUE(answer.has_value()) << answer.error().what;
  EXPECT_EQ("https://" + std::string((*answer)["host"].text()), front.url());
}

TEST_F(TlsApi, StrangersAreNotTrustedUnlessToldTo) {
  TlsFront front(loop_, server_, options());
  ClientConfig wrong = config(front);
  wrong.ca_pem = net::make_tls_identity(kName)->certificate;
  ApiClient distrustful(loop_, wrong);
  auto answer = distrustful.begin_get("/version").wait();
  ASSERT_FALSE(answer.has_value());
  EXPECT_EQ(answer.error().code, ErrorCode::kPeer);
  EXPECT_NE(answer.error().hint.find("`accept_invalid_certificates`"), std::string::npos);

  wrong = config(front);
  wrong.server_name.clear();  // then it is 127.0.0.1, which the certificate does not have
  ApiClient misnamed(loop_, wrong);
  answer = misnamed.begin_get("/version").wait();
  ASSERT_FALSE(answer.has_value());
  EXPECT_NE(answer.error().what.find("is not trusted"), std::string::npos) << answer.error().what;
  EXPECT_EQ(arrived_, 0);

  wrong.ca_pem.clear();
  wrong.is_insecure = true;
  ApiClient trusting(loop_, wrong);
  EXPECT_TRUE(trusting.begin_get("/version").wait().has_value());
}

TEST_F(TlsApi, ClientCertificatesAreShown) {
  net::TlsOptions demanding = options();
  demanding.trusted = kUserCertificate;
  TlsFront front(loop_, server_, std::move(demanding));
  ClientConfig with = config(front);
  with.credentials = [](bool) -> Result<Credentials> {
    return Credentials{.client_certificate = kUserCertificate, .client_key = kUserKey};
  };
  ApiClient client(loop_, std::move(with));
  const auto answer = client.begin_get("/version").wait();
  EXPECT_TRUE(answer.has_value()) << answer.error().what;

  ApiClient nobody(loop_, config(front));
  EXPECT_FALSE(
      nobody.begin({.path = "/version", .timeout = std::chrono::milliseconds(3'000)}).wait());
}

// With one connection per request, none may wait for a stream that does not end.
TEST_F(TlsApi, AServerOfHttp1ServesManyAtOnce) {
  net::TlsOptions old = options();
  old.alpn = {"http/1.1"};
  TlsFront front(loop_, server_, std::move(old));
  ApiClient client(loop_, config(front));
  bool is_opened = false;
  ApiClient::StreamHandlers handlers;
  handlers.opened = [&] { is_opened = true; };
  handlers.line = [](std::string_view) {};
  const auto stream = client.open_stream({.path = "/stream"}, std::move(handlers));
  std::vector<ApiClient::Call> calls;
  for (int i = 0; i < 5; ++i) {
    calls.push_back(client.begin({.path = "/version", .timeout = kPatience}));
  }
  for (ApiClient::Call& call : calls) {
    const auto answer = call.wait();
    EXPECT_TRUE(answer.has_value()) << answer.error().what;
  }
  EXPECT_TRUE(client.run_until([&] { return is_opened; }, kPatience));
  EXPECT_GE(server_.connection_count(), 2);
}

TEST_F(TlsApi, APlainServerIsNotTakenForOne) {
  ClientConfig plain;
  plain.server = "https://127.0.0.1:" + std::to_string(server_.port());
  plain.context = "test";
  plain.ca_pem = identity().certificate;
  ApiClient client(loop_, std::move(plain));
  const auto answer =
      client.begin({.path = "/version", .timeout = std::chrono::milliseconds(1'000)}).wait();
  ASSERT_FALSE(answer.has_value());
  EXPECT_EQ(answer.error().status, 0);
}

}  // namespace
}  // namespace mirrord::k8s
