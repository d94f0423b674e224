// tests/unit/k8s/exec_credential_test.cpp — credential plugins, token files and auth providers, with
// shell scripts for plugins.
#include "k8s/exec_credential.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <pty.h>
#include <unistd.h>

#include "k8s/auth_provider.h"
#include "k8s/client_config.h"
#include "k8s/credential_source.h"
#include "net/base64.h"
#include "tests/support/kernel.h"
#include "tests/unit/k8s/api_server.h"
#include "tests/unit/k8s/temporary_folder.h"

namespace mirrord::k8s {
namespace {

constexpr char kV1[] = "client.authentication.k8s.io/v1";

std::string credential(const std::string& status, const std::string& version = kV1) {
  return R"({"kind":"ExecCredential","apiVersion":")" + version + R"(","status":)" + status + "}";
}

class ExecPlugins : public ::testing::Test {
 protected:
  // A plugin that counts its runs and keeps what it was told.
  std::string script(const std::string& body) {
    return folder_.write("plugin",
                         "#!/bin/sh\ncd " + folder_.path() +
                             "\necho run >>runs\nprintf %s \"$KUBERNETES_EXEC_INFO\" >info\n" +
                             body + "\n",
                         0755);
  }
  // What a user entry with that `exec` comes down to.
  Result<CredentialSource> source(const std::string& exec) {
    auto body = Json::parse(R"({"exec":)" + exec + "}", "it");
    const KubeEntry user{"dev", std::move(*body), folder_.path() + "/config", folder_.path() + "/"};
    ExecClusterInfo info;
    info.server = "https://h:6443";
    info.ca_pem = "CA";
    info.config = Json::object({{"audience", "x"}});
    return credential_source(&user, std::move(info));
  }
  Result<Credentials> run(const std::string& body, const std::string& more = {}) {
    script(body);
    auto made = source(R"({"command":"./plugin","interactiveMode":"Never","apiVersion":")" +
                       std::string(kV1) + "\"" + more + "}");
    if (!made)
      return std::unexpected(made.error());
    source_ = *made;
    return source_(false);
  }
  std::string wrong(const std::string& body, const std::string& more = {}) {
    const auto got = run(body, more);
    if (got)
      return "no error";
    std::string text = got.error().what + " | " + got.error().hint;
    const std::size_t at = text.find(folder_.path());
    return at == std::string::npos ? text : text.replace(at, folder_.path().size(), "DIR");
  }
  std::size_t runs() const { return folder_.read("runs").size() / 4; }

  TemporaryFolder folder_;
  CredentialSource source_;
};

TEST_F(ExecPlugins, GiveATokenThatIsKept) {
  const auto got = run("echo '" + credential(R"({"token":"abc"})") + "'");
  ASSERT_TRUE(got.has_value()) << got.error().what;
  EXPECT_EQ(got->bearer_token, "abc");
  EXPECT_TRUE(source_(false).has_value());
  EXPECT_EQ(runs(), 1U);
  EXPECT_TRUE(source_(true).has_value());  // the server has refused it
  EXPECT_EQ(runs(), 2U);
}

TEST_F(ExecPlugins, RunAgainBeforeTheirTokenRunsOut) {
  ASSERT_TRUE(run("echo '" +
                  credential(R"({"token":"a","expirationTimestamp":"2001-01-01T00:00:00Z"})") +
                  "'"));
  ASSERT_TRUE(source_(false));
  EXPECT_EQ(runs(), 2U);
  ASSERT_TRUE(run("echo '" +
                  credential(R"({"token":"a","expirationTimestamp":"2999-01-01T00:00:00Z"})") +
                  "'"));
  ASSERT_TRUE(source_(false));
  EXPECT_EQ(runs(), 3U);
}

TEST_F(ExecPlugins, MayGiveCertificatesInYaml) {
  const auto got =
      run("cat <<END\nkind: ExecCredential\napiVersion: client.authentication.k8s.io/v1\nstatus:\n"
          "  clientCertificateData: |\n    CERT\n  clientKeyData: |\n    KEY\nEND");
  ASSERT_TRUE(got.has_value()) << got.error().what;
  EXPECT_EQ(got->client_certificate, "CERT\n");
  EXPECT_EQ(got->client_key, "KEY\n");
}

TEST_F(ExecPlugins, AreToldOfTheCluster) {
  const std::string answer = "echo '" + credential(R"({"token":"abc"})") + "'";
  ASSERT_TRUE(run(answer));
  EXPECT_EQ(
      folder_.read("info"),
      R"({"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1","spec":{"interactive":false}})");
  ASSERT_TRUE(run(answer, R"(,"provideClusterInfo":true)"));
  EXPECT_EQ(
      folder_.read("info"),
      R"({"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1","spec":{"interactive":false,"cluster":{"server":"https://h:6443","certificate-authority-data":"Q0E=","config":{"audience":"x"}}}})");
}

TEST_F(ExecPlugins, GetArgumentsAndEnvironment) {
  const auto got = run("printf '{\"kind\":\"ExecCredential\",\"apiVersion\":\"" + std::string(kV1) +
                           "\",\"status\":{\"token\":\"%s-%s-%s\"}}' \"$1\" \"$2\" \"$MORE\"",
                       R"(,"args":["a b","c"],"env":[{"name":"MORE","value":"d"}])");
  ASSERT_TRUE(got.has_value()) << got.error().what;
  EXPECT_EQ(got->bearer_token, "a b-c-d");
}

TEST_F(ExecPlugins, OfTheOlderVersion) {
  constexpr char kBeta[] = "client.authentication.k8s.io/v1beta1";
  script("echo '" + credential(R"({"token":"abc"})", kBeta) + "'");
  const auto made = source(R"({"command":"./plugin","interactiveMode":"Never","apiVersion":")" +
                           std::string(kBeta) + "\"}");
  ASSERT_TRUE(made.has_value());
  EXPECT_EQ((*made)(false)->bearer_token, "abc");
}

TEST_F(ExecPlugins, FailuresAreToldInTheirOwnWords) {
  EXPECT_EQ(
      wrong("echo 'token expired, run login' >&2; exit 3"),
      "the credential plugin `DIR/./plugin` of user `dev` ended with status 3: token expired, "
      "run login | Log in again, or run the plugin by hand to see what is wrong.");
  EXPECT_EQ(wrong("kill -9 $$"),
            "the credential plugin `DIR/./plugin` of user `dev` was killed by signal 9 | Log in "
            "again, or run the plugin by hand to see what is wrong.");
  const std::string unusable =
      "the credential plugin `DIR/./plugin` of user `dev` printed no usable credentials: ";
  const std::string hint = " | Run it by hand and compare what it prints with an ExecCredential.";
  EXPECT_EQ(wrong("echo hello"), unusable + "it is no ExecCredential" + hint);
  EXPECT_EQ(wrong("true"), unusable + "it is no ExecCredential" + hint);
  EXPECT_EQ(wrong("echo '{'").substr(0, unusable.size()), unusable);
  EXPECT_EQ(wrong("echo '" + credential("{}") + "'"),
            unusable + "there is neither status.token nor status.clientCertificateData" + hint);
  EXPECT_EQ(wrong("echo '" + credential(R"({"clientKeyData":"x"})") + "'"),
            unusable + "of clientCertificateData and clientKeyData only one is there" + hint);
  EXPECT_EQ(wrong("echo '" + credential(R"({"token":"x","expirationTimestamp":"soon"})") + "'"),
            unusable + "its expirationTimestamp is no time: `soon`" + hint);
  EXPECT_EQ(wrong("echo '" + credential(R"({"token":"x"})", "other/v1") + "'"),
            unusable +
                "its apiVersion is `other/v1`, the kubeconfig asks for "
                "`client.authentication.k8s.io/v1`" +
                hint);
}

// Puts another descriptor in place of standard input until the end of the test.
class ScopedInput {
 public:
  explicit ScopedInput(int fd) : kept_(::dup(STDIN_FILENO)) { ::dup2(fd, STDIN_FILENO); }
  ~ScopedInput() { ::dup2(kept_.get(), STDIN_FILENO); }
  ScopedInput(const ScopedInput&) = delete;
  ScopedInput& operator=(const ScopedInput&) = delete;

 private:
  Fd kept_;
};

TEST_F(ExecPlugins, MayAskTheUserOnATerminal) {
  int master = -1;
  int terminal = -1;
  ASSERT_EQ(::openpty(&master, &terminal, nullptr, nullptr, nullptr), 0);
  const Fd owned_master(master);
  const Fd owned_terminal(terminal);
  const ScopedInput input(terminal);
  script("read -r word; printf '" + credential(R"({"token":"%s"})") + "' \"$word\"");
  const auto made =
      source(R"({"command":"./plugin","interactiveMode":"IfAvailable","apiVersion":")" +
             std::string(kV1) + "\"}");
  ASSERT_TRUE(made.has_value());
  ASSERT_EQ(::write(master, "typed\n", 6), 6);
  const auto got = (*made)(false);
  ASSERT_TRUE(got.has_value()) << got.error().what;
  EXPECT_EQ(got->bearer_token, "typed");
  EXPECT_NE(folder_.read("info").find(R"("interactive":true)"), std::string::npos);
}

TEST_F(ExecPlugins, ThatMustAskNeedATerminal) {
  const Fd nothing(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  const ScopedInput input(nothing.get());
  script("true");
  const auto made = source(R"({"command":"./plugin","interactiveMode":"Always","apiVersion":")" +
                           std::string(kV1) + "\"}");
  const auto got = (*made)(false);
  ASSERT_FALSE(got.has_value());
  EXPECT_NE(got.error().what.find("must ask the user, and standard input is no terminal"),
            std::string::npos);
  EXPECT_EQ(runs(), 0U);
}

TEST_F(ExecPlugins, ThatAreMissing) {
  if (!mirrord::test::has_openat2()) {
    GTEST_SKIP() << "qemu-user cannot tell a failed posix_spawn(3) from status 127";
  }
  auto made = source(
      R"({"command":"no-such-plugin-here","interactiveMode":"Never","installHint":"Get it from the shop.\n"})");
  auto got = (*made)(false);
  ASSERT_FALSE(got.has_value());
  EXPECT_EQ(got.error().what,
            "the credential plugin `no-such-plugin-here` of user `dev` does not work: starting "
            "`no-such-plugin-here`: No such file or directory");
  EXPECT_EQ(got.error().hint, "Get it from the shop.");
  EXPECT_FALSE(source(R"({"args":[]})").has_value());
  EXPECT_FALSE(source(R"({"command":"x","apiVersion":"other/v1"})").has_value());
}

TEST_F(ExecPlugins, ThatDoNotEndAreKilled) {
  ExecPlugin plugin;
  plugin.user = "dev";
  plugin.command = script("echo waiting >&2; exec sleep 100");
  plugin.api_version = kV1;
  plugin.mode = InteractiveMode::kNever;
  plugin.timeout = std::chrono::milliseconds(300);
  const auto got = run_exec_plugin(plugin);
  ASSERT_FALSE(got.has_value());
  EXPECT_EQ(got.error().code, ErrorCode::kTimeout);
  EXPECT_NE(got.error().what.find("did not end within"), std::string::npos) << got.error().what;
}

TEST_F(ExecPlugins, ThatLeaveSomebodyBehindAreNotWaitedFor) {
  const auto got = run("sleep 30 & echo '" + credential(R"({"token":"abc"})") + "'");
  ASSERT_TRUE(got.has_value()) << got.error().what;
  EXPECT_EQ(got->bearer_token, "abc");
}

TEST(TokenFiles, AreReadAgainWhenRefused) {
  const TemporaryFolder folder;
  const std::string path = folder.write("token", "one\n");
  const CredentialSource source = token_file_source(path);
  EXPECT_EQ(source(false)->bearer_token, "one");
  folder.write("token", "two\n");
  EXPECT_EQ(source(false)->bearer_token, "one");
  EXPECT_EQ(source(true)->bearer_token, "two");
}

std::string web_token(long expires) {
  return "e30." + net::to_base64(R"({"exp":)" + std::to_string(expires) + "}") + ".x";
}

Result<CredentialSource> provider(const std::string& config, const std::string& name = "oidc") {
  const auto value = Json::parse(R"({"name":")" + name + R"(","config":)" + config + "}", "it");
  return auth_provider_source(value->view(), {"dev", Json::object(), "/x/config", "/x/"});
}

TEST(AuthProviders, UseAnIdTokenWhileItIsValid) {
  const std::string token = web_token(32503680000);
  const auto source = provider(R"({"id-token":")" + token + "\"}");
  ASSERT_TRUE(source.has_value());
  EXPECT_EQ((*source)(false)->bearer_token, token);
}

TEST(AuthProviders, SayWhenATokenHasRunOut) {
  const auto source = provider(R"({"id-token":")" + web_token(1000) + "\"}");
  const auto got = (*source)(false);
  ASSERT_FALSE(got.has_value());
  EXPECT_EQ(got.error().what,
            "the token of user `dev` has run out, and there is no `refresh-token`");
}

TEST(AuthProviders, RenewATokenAtItsIssuer) {
  std::string fresh = web_token(32503680000);
  std::string url;
  TestApiServer issuer([&](const TestRequest& request, TestConnection& connection) {
    if (request.path == "/realm/.well-known/openid-configuration")
      connection.answer(200, R"({"token_endpoint":")" + url + R"(/token"})");
    else if (request.header("Authorization").empty())  // takes the secret in the form only
      connection.answer(200, R"({"id_token":")" + fresh + R"(","refresh_token":"r2"})");
    else
      connection.answer(401, R"({"error":"invalid_client"})");
  });
  url = issuer.url();
  const auto source = provider(
      R"({"id-token":")" + web_token(1000) +
      R"(","refresh-token":"r1","client-id":"me","client-secret":"s&t","idp-issuer-url":")" + url +
      R"(/realm/"})");
  const auto got = (*source)(false);
  ASSERT_TRUE(got.has_value()) << got.error().what;
  EXPECT_EQ(got->bearer_token, fresh);
  const auto requests = issuer.requests();
  ASSERT_EQ(requests.size(), 3U);
  EXPECT_EQ(requests[1].header("Authorization"), "Basic " + net::to_base64("me:s&t"));
  EXPECT_EQ(requests[2].body,
            "grant_type=refresh_token&refresh_token=r1&client_id=me&client_secret=s%26t");
}

TEST(AuthProviders, RunTheCommandOfGcp) {
  const TemporaryFolder folder;
  const std::string command = folder.write(
      "gcloud",
      "#!/bin/sh\necho "
      "'{\"credential\":{\"access_token\":\"'$1'\",\"token_expiry\":\"2999-01-01T00:00:00Z\"}}'\n",
      0755);
  const auto source = provider(
      R"({"cmd-path":")" + command +
          R"(","cmd-args":"abc --x","token-key":"{.credential.access_token}","expiry-key":"{.credential.token_expiry}"})",
      "gcp");
  const auto got = (*source)(false);
  ASSERT_TRUE(got.has_value()) << got.error().what;
  EXPECT_EQ(got->bearer_token, "abc");
}

}  // namespace
}  // namespace mirrord::k8s
