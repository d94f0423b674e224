// tests/unit/k8s/kubeconfig_test.cpp — kubeconfigs of every kind, and what is wrong with others.
#include "k8s/kubeconfig.h"

#include <gtest/gtest.h>

#include "k8s/client_config.h"
#include "net/base64.h"
#include "tests/unit/k8s/temporary_folder.h"

namespace mirrord::k8s {
namespace {

constexpr char kSimple[] = R"(apiVersion: v1
kind: Config
current-context: one
clusters:
- name: c1
  cluster: {server: "https://10.0.0.1:6443"}
- name: c2
  cluster:
    server: https://10.0.0.2
    certificate-authority: pki/ca.pem
    tls-server-name: kubernetes
    insecure-skip-tls-verify: true
    proxy-url: socks5://proxy:1080
contexts:
- name: one
  context: {cluster: c1, user: u1}
- name: two
  context: {cluster: c2, user: u2, namespace: shop}
- name: nobody
  context: {cluster: c1}
- name: lost
  context: {cluster: c9}
users:
- name: u1
  user: {token: secret}
- name: u2
  user: {username: me, password: word, as: other, as-uid: "7", as-groups: [a, b], as-user-extra: {x: [y, z]}}
)";

// The environment of a user without a cluster.
class Kubeconfigs : public ::testing::Test {
 protected:
  ClientConfig good(const std::string& text, const std::string& context = {}) {
    auto config = load({folder_.write("config", text)}, context);
    return config ? std::move(*config) : ClientConfig{.server = "BAD: " + config.error().what};
  }
  std::string wrong(const std::string& text, const std::string& context = {}) {
    const auto config = load({folder_.write("config", text)}, context);
    return config ? "no error" : without_folder(config.error().what + " | " + config.error().hint);
  }
  static Result<ClientConfig> load(const std::vector<std::string>& files,
                                   const std::string& context = {}) {
    ClientConfigChoice choice;
    choice.kubeconfig_files = files;
    choice.context = context;
    return load_client_config(choice);
  }
  std::string without_folder(std::string text) {
    for (std::size_t at = text.find(folder_.path()); at != std::string::npos;
         at = text.find(folder_.path()))
      text.replace(at, folder_.path().size(), "DIR");
    return text;
  }

  TemporaryFolder folder_;
  ScopedVariable kubeconfig_{"KUBECONFIG", nullptr};
  ScopedVariable home_{"HOME", folder_.path().c_str()};
  ScopedVariable upper_{"HTTPS_PROXY", nullptr};
  ScopedVariable lower_{"https_proxy", nullptr};
  ScopedVariable service_{"KUBERNETES_SERVICE_HOST", nullptr};
};

TEST_F(Kubeconfigs, TheCurrentContextCounts) {
  const ClientConfig config = good(kSimple);
  EXPECT_EQ(config.server, "https://10.0.0.1:6443");
  EXPECT_EQ(config.context, "one");
  EXPECT_EQ(config.name_space, "default");
  EXPECT_FALSE(config.is_insecure);
  EXPECT_EQ(config.proxy, "");
  EXPECT_EQ(config.credentials(false)->bearer_token, "secret");
}

TEST_F(Kubeconfigs, AnotherContextWithAllThereIsToSay) {
  folder_.write("pki/ca.pem", "PEM");
  const ClientConfig config = good(kSimple, "two");
  EXPECT_EQ(config.server, "https://10.0.0.2");
  EXPECT_EQ(config.name_space, "shop");
  EXPECT_EQ(config.ca_pem, "PEM");
  EXPECT_EQ(config.server_name, "kubernetes");
  EXPECT_TRUE(config.is_insecure);
  EXPECT_EQ(config.proxy, "socks5://proxy:1080");
  const auto credentials = config.credentials(false);
  EXPECT_EQ(credentials->username, "me");
  EXPECT_EQ(credentials->password, "word");
  EXPECT_EQ(credentials->bearer_token, "");
  EXPECT_EQ(config.impersonate_user, "other");
  EXPECT_EQ(config.impersonate_uid, "7");
  EXPECT_EQ(config.impersonate_groups, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(config.impersonate_extra,
            (std::vector<std::pair<std::string, std::string>>{{"x", "y"}, {"x", "z"}}));
}

TEST_F(Kubeconfigs, NobodyIsAUserToo) {
  EXPECT_EQ(*good(kSimple, "nobody").credentials(false), Credentials());
}

TEST_F(Kubeconfigs, TheSettingDecidesAboutInvalidCertificates) {
  folder_.write("pki/ca.pem", "PEM");
  ClientConfigChoice choice;
  choice.kubeconfig_files = {folder_.write("config", kSimple)};
  choice.context = "two";
  choice.accept_invalid_certificates = false;
  EXPECT_FALSE(load_client_config(choice)->is_insecure);
  choice.context = "one";
  choice.accept_invalid_certificates = true;
  EXPECT_TRUE(load_client_config(choice)->is_insecure);
}

TEST_F(Kubeconfigs, TheFirstOfEqualNamesCounts) {
  const std::string first = folder_.write(
      "first", "current-context: a\nclusters: [{name: c, cluster: {server: 'https://one'}}]\n");
  const std::string second =
      folder_.write("sub/second",
                    "current-context: b\n"
                    "clusters: [{name: c, cluster: {server: 'https://two'}}]\n"
                    "contexts: [{name: a, context: {cluster: c, user: u}}]\n"
                    "---\n"  // documents are merged as files are
                    "users: [{name: u, user: {tokenFile: token}}]\n");
  folder_.write("sub/token", "  from file\n");
  const auto config = load({first + ":" + second});
  ASSERT_TRUE(config.has_value()) << config.error().what;
  EXPECT_EQ(config->context, "a");
  EXPECT_EQ(config->server, "https://one");
  EXPECT_EQ(config->credentials(false)->bearer_token, "  from file");  // next to its own file
}

TEST_F(Kubeconfigs, TheVariableNamesFilesThatNeedNotExist) {
  folder_.write("here", kSimple);
  const std::string list = ":/nowhere/config:~/here:";
  const ScopedVariable variable("KUBECONFIG", list.c_str());
  EXPECT_EQ(load_client_config({})->context, "one");
  const auto missing = load({"/nowhere/config"});  // but what the setting names must exist
  ASSERT_FALSE(missing.has_value());
  EXPECT_EQ(missing.error().what, "reading `/nowhere/config`: No such file or directory");
}

TEST_F(Kubeconfigs, TheUsualPlaceAndNone) {
  auto config = load_client_config({});
  ASSERT_FALSE(config.has_value());
  EXPECT_EQ(config.error().what, "there is no kubeconfig: ~/.kube/config does not exist");
  folder_.write(".kube/config", kSimple);
  config = load_client_config({});
  ASSERT_TRUE(config.has_value()) << config.error().what;
  EXPECT_EQ(config->context, "one");
}

TEST_F(Kubeconfigs, PathsAreExpanded) {
  const ScopedVariable variable("MIRRORD_TEST_DIR", "/dir");
  EXPECT_EQ(expand_path("~/x"), folder_.path() + "/x");
  EXPECT_EQ(expand_path("$MIRRORD_TEST_DIR/x"), "/dir/x");
  EXPECT_EQ(expand_path("/a/${MIRRORD_TEST_DIR}b"), "/a//dirb");
  EXPECT_EQ(expand_path("$MIRRORD_TEST_UNSET/x"), "/x");
  EXPECT_EQ(expand_path("a$/${b"), "a$/${b");
}

TEST_F(Kubeconfigs, InlineDataAndCertificates) {
  const std::string text =
      "current-context: a\ncontexts: [{name: a, context: {cluster: c, user: u}}]\n"
      "clusters: [{name: c, cluster: {server: 'https://h', certificate-authority-data: " +
      net::to_base64("CA") +
      "}}]\n"
      "users: [{name: u, user: {client-certificate-data: " +
      net::to_base64("CERT") + ", client-key: key.pem}}]\n";
  folder_.write("key.pem", "KEY");
  const ClientConfig config = good(text);
  EXPECT_EQ(config.ca_pem, "CA");
  auto credentials = config.credentials(false);
  EXPECT_EQ(credentials->client_certificate, "CERT");
  EXPECT_EQ(credentials->client_key, "KEY");
  folder_.write("key.pem", "NEW KEY");  // rotated: read again when it was refused
  EXPECT_EQ(config.credentials(false)->client_key, "KEY");
  EXPECT_EQ(config.credentials(true)->client_key, "NEW KEY");
}

TEST_F(Kubeconfigs, OtherEncodings) {
  EXPECT_EQ(good("\xEF\xBB\xBF" + std::string(kSimple)).context, "one");
  std::string wide("\xFF\xFE");
  for (const char c : std::string(kSimple))
    wide += std::string{c, '\0'};
  EXPECT_EQ(good(wide).context, "one");
}

TEST_F(Kubeconfigs, JsonIsYaml) {
  EXPECT_EQ(good(R"({"apiVersion":"v1","kind":"Config","current-context":"a",
    "clusters":[{"name":"c","cluster":{"server":"http://h:80"}}],
    "contexts":[{"name":"a","context":{"cluster":"c","namespace":"n"}}]})")
                .name_space,
            "n");
}

TEST_F(Kubeconfigs, ErrorsNameFileContextAndWhatIsMissing) {
  EXPECT_EQ(wrong(kSimple, "towns"),
            "the context `towns` is not in the kubeconfig `DIR/config` | It has these: `one`, "
            "`two`, `nobody`, `lost`.");
  EXPECT_EQ(wrong(kSimple, "on"),
            "the context `on` is not in the kubeconfig `DIR/config` | Did you mean `one`?");
  EXPECT_EQ(wrong(kSimple, "lost"),
            "DIR/config: the context `lost` names the cluster `c9`, which is not there | ");
  EXPECT_EQ(wrong(kSimple, "two"),
            "reading `DIR/pki/ca.pem`: No such file or directory (the `certificate-authority` of "
            "`c2` in DIR/config) | Check the path and its permissions.");
  EXPECT_EQ(
      wrong("contexts: [{name: a, context: {}}]"),
      "the kubeconfig `DIR/config` has no current context | Choose one with `kube_context` or "
      "`kubectl config use-context`: `a`.");
  EXPECT_EQ(wrong("kind: Pod\napiVersion: v1\n"),
            "DIR/config: not a kubeconfig: its kind is `Pod`, its apiVersion `v1` | Name a file "
            "with `kind: Config` and `apiVersion: v1`.");
  EXPECT_EQ(wrong("[1, 2]"),
            "DIR/config: not a kubeconfig | Name a file with `kind: Config` and `apiVersion: v1`.");
  EXPECT_EQ(wrong("clusters: 7"), "DIR/config: `clusters` is not a list | ");
  EXPECT_EQ(wrong("users: [{user: {}}]"), "DIR/config: an entry of `users` has no `name` | ");
  EXPECT_EQ(wrong("a: [").substr(0, 30), "DIR/config:1:5: not valid YAML");
  const std::string head =
      "current-context: a\ncontexts: [{name: a, context: {cluster: c, user: u}}]\n";
  EXPECT_EQ(wrong(head + "clusters: [{name: c, cluster: {}}]"),
            "DIR/config: the cluster `c` has no `server` | ");
  EXPECT_EQ(wrong(head + "clusters: [{name: c, cluster: {server: 'ftp://h'}}]"),
            "DIR/config: the server of the cluster `c` is no https URL: `ftp://h` | ");
  const std::string cluster = head + "clusters: [{name: c, cluster: {server: 'https://h'}}]\n";
  EXPECT_EQ(wrong(cluster + "users: [{name: u, user: {client-certificate-data: '!'}}]"),
            "DIR/config: `client-certificate-data` of `u` is not valid Base64 | ");
  EXPECT_EQ(wrong(cluster + "users: [{name: u, user: {client-certificate-data: QQ==}}]"),
            "user `u` has a client certificate without its key | ");
  EXPECT_EQ(
      wrong(cluster + "users: [{name: u, user: {auth-provider: {name: azure}}}]"),
      "user `u` in DIR/config has the auth-provider `azure`, which is not supported | Convert "
      "the kubeconfig with `kubelogin convert-kubeconfig`.");
}

TEST_F(Kubeconfigs, ProxiesOfTheEnvironment) {
  const ScopedVariable proxy("HTTPS_PROXY", "http://user:word@proxy:3128");
  EXPECT_EQ(good(kSimple).proxy, "http://user:word@proxy:3128");
  ClientConfigChoice choice;
  choice.kubeconfig_files = {folder_.path() + "/config"};
  choice.use_proxy = false;
  EXPECT_EQ(load_client_config(choice)->proxy, "");
  const ScopedVariable exceptions("NO_PROXY", "example.com,10.0.0.0/24");
  EXPECT_EQ(good(kSimple).proxy, "");
}

}  // namespace
}  // namespace mirrord::k8s
