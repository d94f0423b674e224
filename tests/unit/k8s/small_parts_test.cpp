// tests/unit/k8s/small_parts_test.cpp — JSON, times, Base64, URLs, proxies, API paths and errors.
#include <curl/curl.h>
#include <gtest/gtest.h>

#include <map>

#include "k8s/api_error.h"
#include "k8s/json.h"
#include "k8s/proxy_choice.h"
#include "k8s/timestamp.h"
#include "k8s/yaml.h"
#include "net/base64.h"

namespace mirrord::k8s {
namespace {

TEST(JsonValues, AreReadWithoutChecksAtEveryStep) {
  const auto json = Json::parse(R"({"a":{"b":[1,{"c":"x"}]},"n":null,"t":true})", "it");
  ASSERT_TRUE(json.has_value());
  EXPECT_EQ((*json)["a"]["b"].at(1)["c"].text(), "x");
  EXPECT_EQ((*json)["a"]["b"].at(0).number(), 1);
  EXPECT_EQ((*json)["a"]["nothing"].at(7)["c"].text("else"), "else");
  EXPECT_FALSE((*json)["n"].is_present());
  EXPECT_TRUE((*json)["t"].boolean());
  EXPECT_EQ((*json)["a"]["b"].size(), 2U);
}

TEST(JsonValues, AreBuiltAndChanged) {
  Json object = Json::object({{"a", 1}, {"b", Json::array({"x", true})}});
  object.set("a", "new");
  object.add("c", Json());
  object.merge(Json::object({{"b", 2}, {"d", 3}}).view());
  EXPECT_EQ(object.dump(), R"({"a":"new","b":2,"c":null,"d":3})");
  const Json copy(object["d"]);
  EXPECT_EQ(copy.dump(), "3");
}

TEST(JsonValues, TextsThatAreNotJsonAreRefused) {
  EXPECT_TRUE(Json::parse(" {} \n", "it").has_value());
  for (const char* text : {"", "{", "{\"a\":1", "{} {}", "{}x", "nul", "[1,]"})
    EXPECT_FALSE(Json::parse(text, "it").has_value()) << text;
  EXPECT_FALSE(Json::parse(std::string(100'000, '['), "it").has_value());
}

TEST(JsonValues, ComeFromYaml) {
  const auto documents = parse_yaml_documents("a: [1, 1.5, yes, ~]\nb: {c: 'x'}\n---\n2\n", "it");
  ASSERT_TRUE(documents.has_value());
  ASSERT_EQ(documents->size(), 2U);
  EXPECT_EQ((*documents)[0].dump(), R"({"a":[1,1.5,"yes",null],"b":{"c":"x"}})");
  EXPECT_EQ((*documents)[1].dump(), "2");
}

TEST(Timestamps, OfRfc3339) {
  const auto seconds = [](std::string_view text) -> long {
    const auto time = parse_timestamp(text);
    return time ? std::chrono::duration_cast<std::chrono::seconds>(time->time_since_epoch()).count()
                : -1;
  };
  EXPECT_EQ(seconds("1970-01-01T00:00:10Z"), 10);
  EXPECT_EQ(seconds("2024-02-29T12:30:45Z"), 1709209845);
  EXPECT_EQ(seconds("2024-02-29T12:30:45.123456Z"), 1709209845);
  EXPECT_EQ(seconds("2024-02-29T14:30:45+02:00"), 1709209845);
  for (const char* text : {"", "2024", "2023-02-29T00:00:00Z", "2024-02-29T24:00:00Z",
                           "2024-02-29T12:30:45", "2024-02-29 12:30:45Z", "2024-02-29T12:30:45Zx"})
    EXPECT_EQ(seconds(text), -1) << text;
}

TEST(Base64, ThereAndBack) {
  for (const char* text : {"", "a", "ab", "abc", "\xFF\xFE"})
    EXPECT_EQ(net::from_base64(net::to_base64(text)).value(), text);
  EXPECT_EQ(net::from_base64("YW\nJj").value(), "abc");
  EXPECT_FALSE(net::from_base64("YWJ").has_value());
  EXPECT_FALSE(net::from_base64("Y*Jj").has_value());
}

TEST(Urls, AreSplit) {
  const auto shown = [](const char* url) {
    const UrlParts parts = split_url(url);
    return parts.scheme + " " + parts.host + " " + parts.port + " " + parts.prefix + " " +
           parts.authority();
  };
  EXPECT_EQ(shown("https://host"), "https host 443  host:443");
  EXPECT_EQ(shown("HTTP://host:8080/a/b/"), "http host 8080 /a/b host:8080");
  EXPECT_EQ(shown("https://[::1]:6443/k8s"), "https ::1 6443 /k8s [::1]:6443");
  EXPECT_EQ(shown("host:1"), "https host 1  host:1");
  EXPECT_EQ(shown("https://me:word@host"), "https host 443  host:443");
}

TEST(Proxies, AreChosenByEnvironmentAndExceptions) {
  std::map<std::string, std::string> variables;
  const auto proxy = [&](const char* url) {
    return proxy_of_environment(split_url(url), [&](const char* name) { return variables[name]; });
  };
  EXPECT_EQ(proxy("https://example.com"), "");
  variables["https_proxy"] = "http://lower";
  EXPECT_EQ(proxy("https://example.com"), "http://lower");
  variables["HTTPS_PROXY"] = "http://upper";
  EXPECT_EQ(proxy("https://example.com"), "http://upper");
  EXPECT_EQ(proxy("http://example.com"), "");
  EXPECT_EQ(proxy("https://localhost:6443"), "");
  EXPECT_EQ(proxy("https://127.0.0.5"), "");
  EXPECT_EQ(proxy("https://[::1]"), "");
  variables["NO_PROXY"] =
      "one.com, .two.com,*.three.com,10.1.0.0/16,10.2.0.1,fd00::/8,four.com:8443";
  for (const char* excepted : {"https://one.com", "https://x.one.com", "https://ONE.com",
                               "https://x.two.com", "https://x.three.com", "https://10.1.255.3",
                               "https://10.2.0.1", "https://[fd00::7]", "https://four.com:8443"})
    EXPECT_EQ(proxy(excepted), "") << excepted;
  for (const char* other : {"https://notone.com", "https://two.com", "https://10.2.0.2",
                            "https://10.0.0.1", "https://[fe00::7]", "https://four.com"})
    EXPECT_EQ(proxy(other), "http://upper") << other;
  variables["NO_PROXY"] = "*";
  EXPECT_EQ(proxy("https://notone.com"), "");
}

TEST(ApiPaths, SayWhatIsAskedFor) {
  const auto shown = [](const char* method, const char* text) {
    const ApiPath path = parse_api_path(text);
    return std::string(api_verb(method, path)) + " " + path.group + "|" + path.resource + "|" +
           path.name_space + "|" + path.name;
  };
  EXPECT_EQ(shown("GET", "/api/v1/namespaces/n/pods?limit=500"), "list |pods|n|");
  EXPECT_EQ(shown("GET", "/api/v1/pods?watch=true&x=1"), "watch |pods||");
  EXPECT_EQ(shown("GET", "/api/v1/namespaces/n/pods/p"), "get |pods|n|p");
  EXPECT_EQ(shown("GET", "/api/v1/namespaces/n/pods/p/log?follow=true"), "get |pods/log|n|p");
  EXPECT_EQ(shown("POST", "/apis/batch/v1/namespaces/n/jobs"), "create batch|jobs|n|");
  EXPECT_EQ(shown("PATCH", "/api/v1/namespaces/n/pods/p/ephemeralcontainers"),
            "patch |pods/ephemeralcontainers|n|p");
  EXPECT_EQ(shown("PUT", "/apis/apps/v1/namespaces/n/deployments/d"),
            "update apps|deployments|n|d");
  EXPECT_EQ(shown("DELETE", "/apis/batch/v1/namespaces/n/jobs/j"), "delete batch|jobs|n|j");
  EXPECT_EQ(shown("GET", "/api/v1/nodes/n1"), "get |nodes||n1");
  EXPECT_EQ(shown("GET", "/api/v1/namespaces"), "list |namespaces||");
  EXPECT_EQ(shown("GET", "/api/v1/namespaces/n"), "get |namespaces||n");
  EXPECT_EQ(shown("GET", "/version"), "list |||");
}

TEST(ApiErrors, NameTheMissingRule) {
  const ClientConfig config{.server = "https://h", .context = "work"};
  ApiRequest request{.method = "POST", .path = "/apis/batch/v1/namespaces/shop/jobs"};
  ApiError error = answer_error(
      config, request, 403,
      R"({"kind":"Status","reason":"Forbidden","message":"jobs.batch is forbidden: User \"me\" cannot create resource \"jobs\" in API group \"batch\" in the namespace \"shop\""})");
  EXPECT_EQ(error.code, ErrorCode::kPermission);
  EXPECT_EQ(error.status, 403);
  EXPECT_EQ(error.reason, "Forbidden");
  EXPECT_EQ(
      error.what,
      "POST /apis/batch/v1/namespaces/shop/jobs at https://h: jobs.batch is forbidden: User "
      "\"me\" cannot create resource \"jobs\" in API group \"batch\" in the namespace \"shop\"");
  EXPECT_EQ(error.hint,
            "Have a Role bound to you in the namespace `shop` that has the rule: apiGroups "
            "[\"batch\"], resources [\"jobs\"], verbs [\"create\"].");
  error = answer_error(
      config, request, 403,
      R"({"kind":"Status","reason":"Forbidden","message":"pods \"x\" is forbidden: violates PodSecurity"})");
  EXPECT_EQ(error.hint, "");  // no rule would help
  request = {.path = "/api/v1/nodes/n1"};
  error = answer_error(config, request, 403,
                       R"({"kind":"Status","reason":"Forbidden","message":"User x cannot get"})");
  EXPECT_EQ(error.hint,
            "Have a ClusterRole bound to you that has the rule: apiGroups [\"\"], resources "
            "[\"nodes\"], verbs [\"get\"].");
}

TEST(ApiErrors, OfTransfersHaveTheirHints) {
  ClientConfig config{.server = "https://h", .context = "work", .proxy = "http://me:word@p:3128"};
  const ApiRequest request{.path = "/version"};
  const auto hint = [&](CURLcode code, std::string_view reason = {}) {
    return transfer_error(config, request, code, reason).hint;
  };
  EXPECT_EQ(hint(CURLE_COULDNT_CONNECT),
            "Check that the server of the context `work` runs and can be reached from here through "
            "the proxy http://p:3128.");
  EXPECT_NE(hint(CURLE_PEER_FAILED_VERIFICATION).find("`accept_invalid_certificates`"),
            std::string::npos);
  EXPECT_NE(hint(CURLE_SSL_CERTPROBLEM, "Error parsing private key").find("`client-key`"),
            std::string::npos);
  EXPECT_NE(
      hint(CURLE_SSL_CERTPROBLEM, "Error importing ca cert blob").find("`certificate-authority`"),
      std::string::npos);
}

TEST(ApiErrors, QuoteWhatIsNoStatus) {
  const ClientConfig config{.server = "https://h", .context = "work"};
  const ApiRequest request{.path = "/version"};
  EXPECT_EQ(answer_error(config, request, 502, "<html>\n<b>Bad\x1b[31m gateway</b>\n").what,
            "GET /version at https://h: the server answers with HTTP status 502: <html> "
            "<b>Bad[31m gateway</b>");
  EXPECT_EQ(answer_error(config, request, 500, "").what,
            "GET /version at https://h: the server answers with HTTP status 500");
  EXPECT_LT(answer_error(config, request, 500, std::string(10'000, 'x')).what.size(), 500U);
  EXPECT_EQ(answer_error(config, request, 401, "").hint,
            "The credentials of the context `work` are not, or no longer, valid: log in to the "
            "cluster again.");
}

TEST(Escapes, AreThoseOfQueries) {
  EXPECT_EQ(escape("a-b_c.d~e"), "a-b_c.d~e");
  EXPECT_EQ(escape("app!=x,y/z w\xC3\xA9"), "app%21%3Dx%2Cy%2Fz%20w%C3%A9");
}

}  // namespace
}  // namespace mirrord::k8s
