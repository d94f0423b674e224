// tests/unit/k8s/api_client_test.cpp — the API client against servers that answer well, late, badly
// or not at all.
#include "k8s/api_client.h"

#include <curl/curl.h>
#include <gtest/gtest.h>

#include <atomic>

#include "tests/unit/k8s/api_server.h"

namespace mirrord::k8s {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kPatience{20'000};

ClientConfig config_of(const TestApiServer& server) {
  ClientConfig config;
  config.server = server.url();
  config.context = "test";
  return config;
}

std::string status_object(int code, const std::string& reason, const std::string& message) {
  return R"({"kind":"Status","code":)" + std::to_string(code) + R"(,"reason":")" + reason +
         R"(","message":")" + message + "\"}";
}

TEST(ApiClientRequests, CarryMethodBodyAndIdentity) {
  TestApiServer server([](const TestRequest& request, TestConnection& connection) {
    connection.answer(200, R"({"method":")" + request.method + "\"}");
  });
  net::Loop loop;
  ClientConfig config = config_of(server);
  config.credentials = [](bool) -> Result<Credentials> { return Credentials{.bearer_token = "t"}; };
  config.impersonate_user = "other";
  config.impersonate_groups = {"a", "b"};
  ApiClient client(loop, std::move(config));
  EXPECT_EQ((*client.begin_get("/version").wait())["method"].text(), "GET");
  for (const char* method : {"POST", "PUT", "PATCH", "DELETE"}) {
    ApiRequest request{.method = method, .path = "/x?y=z", .body = R"({"a":1})"};
    EXPECT_EQ((*client.begin(std::move(request)).wait())["method"].text(), method);
  }
  EXPECT_TRUE(client.begin({.method = "DELETE", .path = "/x"}).wait().has_value());
  EXPECT_EQ(server.connection_count(), 1);
  const auto requests = server.requests();
  ASSERT_EQ(requests.size(), 6U);
  EXPECT_EQ(requests[0].header("Authorization"), "Bearer t");
  EXPECT_EQ(requests[0].header("Impersonate-User"), "other");
  EXPECT_EQ(requests[0].header("Accept"), "application/json");
  EXPECT_EQ(requests[1].path, "/x?y=z");
  EXPECT_EQ(requests[1].body, R"({"a":1})");
  EXPECT_EQ(requests[1].header("Content-Type"), "application/json");
}

TEST(ApiClientRequests, RunAtTheSameTime) {
  std::atomic<int> arrived = 0;
  TestApiServer server([&](const TestRequest& request, TestConnection& connection) {
    ++arrived;
    while (arrived < 8) {
      std::this_thread::yield();
    }
    connection.answer(200, R"({"path":")" + request.path + "\"}");
  });
  net::Loop loop;
  ApiClient client(loop, config_of(server));
  std::vector<ApiClient::Call> calls;
  for (int i = 0; i < 8; ++i) {
    calls.push_back(client.begin_get("/" + std::to_string(i)));
  }
  for (int i = 7; i >= 0; --i) {
    const auto answer = calls[static_cast<std::size_t>(i)].wait();
    ASSERT_TRUE(answer.has_value()) << answer.error().what;
    EXPECT_EQ((*answer)["path"].text(), "/" + std::to_string(i));
  }
}

TEST(ApiClientRequests, AreTriedAgainWhileTheServerIsBusy) {
  for (const int status : {429, 502, 503, 504}) {
    TestApiServer server([&](const TestRequest& request, TestConnection& connection) {
      if (request.number <= 2) {
        connection.answer(status, "");
      } else {
        connection.answer(200, "{}");
      }
    });
    net::Loop loop;
    ApiClient client(loop, config_of(server));
    EXPECT_TRUE(client.begin_get("/x").wait().has_value()) << status;
    EXPECT_EQ(server.requests().size(), 3U);
  }
}

TEST(ApiClientRequests, AreNotRepeatedWhenTheServerMayHaveActed) {
  TestApiServer server([](const TestRequest& request, TestConnection& connection) {
    if (request.path == "/busy" && request.number == 1) {
      connection.answer(429, "");
    } else if (request.path == "/asked" && request.number == 3) {
      connection.answer(503, "", "Retry-After: 1\r\n");
    } else if (request.path == "/lost") {
      connection.reset();
    } else if (request.path == "/bad") {
      connection.answer(503, "");
    } else {
      connection.answer(200, "{}");
    }
  });
  net::Loop loop;
  ApiClient client(loop, config_of(server));
  EXPECT_TRUE(client.begin({.method = "POST", .path = "/busy"}).wait().has_value());
  EXPECT_TRUE(client.begin({.method = "POST", .path = "/asked"}).wait().has_value());
  EXPECT_EQ(server.requests().size(), 4U);
  EXPECT_EQ(client.begin({.method = "POST", .path = "/bad"}).wait().error().status, 503);
  EXPECT_EQ(server.requests().size(), 5U);
}

TEST(ApiClientRequests, OfReadingSurviveALostConnection) {
  TestApiServer server([](const TestRequest& request, TestConnection& connection) {
    switch (request.number) {
      case 2:
        connection.hang_up();
        break;
      case 3:
        connection.reset();
        break;
      case 4:  // in the midst of the answer
        connection.write("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{");
        connection.hang_up();
        break;
      default:
        connection.answer(200, "{}");
    }
  });
  net::Loop loop;
  ApiClient client(loop, config_of(server));
  ASSERT_TRUE(client.begin_get("/first").wait().has_value());
  const auto answer = client.begin_get("/second").wait();
  ASSERT_TRUE(answer.has_value()) << answer.error().what;
  EXPECT_GE(server.requests().size(), 5U);
}

TEST(ApiClientRequests, EndWithTheirTimeLimit) {
  TestApiServer server([](const TestRequest& request, TestConnection& connection) {
    if (request.path == "/busy") {
      connection.answer(429, status_object(429, "TooManyRequests", "later"), "Retry-After: 30\r\n");
    } else {
      connection.wait_for_client();
    }
  });
  net::Loop loop;
  ApiClient client(loop, config_of(server));
  const auto late = client.begin({.path = "/silent", .timeout = milliseconds(200)}).wait();
  ASSERT_FALSE(late.has_value());
  EXPECT_EQ(late.error().code, ErrorCode::kTimeout);
  EXPECT_EQ(late.error().status, 0);
  // No use in waiting for a time that lies behind the limit.
  const auto busy = client.begin({.path = "/busy", .timeout = milliseconds(10'000)}).wait();
  ASSERT_FALSE(busy.has_value());
  EXPECT_EQ(busy.error().status, 429);
  EXPECT_EQ(busy.error().reason, "TooManyRequests");
}

TEST(ApiClientRequests, ToNobodyAreRefusedSoon) {
  std::string url;
  {
    const TestApiServer gone([](const TestRequest&, TestConnection&) {});
    url = gone.url();
  }
  net::Loop loop;
  ApiClient client(loop, ClientConfig{.server = url, .context = "test"});
  const auto answer = client.begin({.path = "/x", .timeout = kPatience}).wait();
  ASSERT_FALSE(answer.has_value());
  EXPECT_EQ(answer.error().code, ErrorCode::kDisconnected);
  EXPECT_EQ(answer.error().what, "GET /x at " + url + ": cannot connect (Connection refused)");
  EXPECT_EQ(answer.error().hint,
            "Check that the server of the context `test` runs and can be reached from here.");
}

TEST(ApiClientCredentials, AreRenewedOnceWhenRefused) {
  TestApiServer server([](const TestRequest& request, TestConnection& connection) {
    if (request.header("Authorization") == "Bearer new") {
      connection.answer(200, "{}");
    } else {
      connection.answer(401, status_object(401, "Unauthorized", "Unauthorized"));
    }
  });
  net::Loop loop;
  ClientConfig config = config_of(server);
  std::atomic<int> renewals = 0;
  config.credentials = [&](bool refused) -> Result<Credentials> {
    renewals += refused ? 1 : 0;
    return Credentials{.bearer_token = renewals > 0 ? "new" : "old"};
  };
  ApiClient client(loop, std::move(config));
  std::vector<ApiClient::Call> calls;
  for (int i = 0; i < 4; ++i) {
    calls.push_back(client.begin_get("/x"));
  }
  for (ApiClient::Call& call : calls) {
    const auto answer = call.wait();
    EXPECT_TRUE(answer.has_value()) << answer.error().what;
  }
  EXPECT_GE(renewals, 1);
}

TEST(ApiClientCredentials, ThatStayRefusedAreReported) {
  TestApiServer server([](const TestRequest&, TestConnection& connection) {
    connection.answer(401, status_object(401, "Unauthorized", "Unauthorized"));
  });
  net::Loop loop;
  ClientConfig config = config_of(server);
  std::atomic<int> asked = 0;
  config.credentials = [&](bool) -> Result<Credentials> {
    ++asked;
    return Credentials{.bearer_token = "fixed"};
  };
  ApiClient client(loop, std::move(config));
  const auto answer = client.begin_get("/x").wait();
  ASSERT_FALSE(answer.has_value());
  EXPECT_EQ(answer.error().status, 401);
  EXPECT_EQ(answer.error().reason, "Unauthorized");
  EXPECT_EQ(answer.error().hint,
            "The credentials of the context `test` are not, or no longer, valid: log in to the "
            "cluster again.");
  EXPECT_EQ(server.requests().size(), 1U);  // the same ones would be refused again
  EXPECT_EQ(asked, 2);
}

TEST(ApiClientCredentials, ThatCannotBeHadAreTheError) {
  TestApiServer server(
      [](const TestRequest&, TestConnection& connection) { connection.answer(200, "{}"); });
  net::Loop loop;
  ClientConfig config = config_of(server);
  config.credentials = [](bool) -> Result<Credentials> {
    return fail(ErrorCode::kNotFound, "no plugin", "Install it.");
  };
  ApiClient client(loop, std::move(config));
  const auto answer = client.begin_get("/x").wait();
  ASSERT_FALSE(answer.has_value());
  EXPECT_EQ(answer.error().what, "no plugin");
  EXPECT_EQ(answer.error().hint, "Install it.");
}

TEST(ApiClientAnswers, ThatAreHostileAreErrors) {
  TestApiServer server([](const TestRequest& request, TestConnection& connection) {
    if (request.path == "/truncated") {
      connection.answer(200, R"({"a":)");
    } else if (request.path == "/garbage") {
      connection.write("\x16\x03\x01 not HTTP at all\r\n\r\n");
      connection.hang_up();
    } else if (request.path == "/headers") {
      connection.write("HTTP/1.1 200 OK\r\n");
      for (int i = 0; i < 40'000; ++i) {
        connection.write("X-Header: " + std::string(100, 'x') + "\r\n");
      }
      connection.hang_up();
    } else if (request.path == "/deep") {
      connection.answer(200, std::string(100'000, '['));
    } else if (request.path == "/zipped") {
      connection.answer(200, "not gzip", "Content-Encoding: gzip\r\n");
    } else if (request.path == "/long-error") {
      connection.answer(500, std::string(1'000'000, 'x'));
    } else {
      connection.answer(302, "", "Location: /elsewhere\r\n");
    }
  });
  net::Loop loop;
  ApiClient client(loop, config_of(server));
  const auto code = [&](const char* path) {
    const auto answer = client.begin({.path = path, .timeout = kPatience}).wait();
    return answer ? ErrorCode::kInternal : answer.error().code;
  };
  EXPECT_EQ(code("/truncated"), ErrorCode::kPeer);
  EXPECT_EQ(code("/garbage"), ErrorCode::kPeer);
  EXPECT_EQ(code("/headers"), ErrorCode::kPeer);
  EXPECT_EQ(code("/deep"), ErrorCode::kPeer);
  EXPECT_EQ(code("/zipped"), ErrorCode::kPeer);
  EXPECT_EQ(code("/long-error"), ErrorCode::kPeer);
  EXPECT_EQ(code("/moved"), ErrorCode::kPeer);
}

TEST(ApiClientCalls, CanBeGivenUp) {
  TestApiServer server([](const TestRequest& request, TestConnection& connection) {
    if (request.path == "/silent") {
      connection.wait_for_client();
    } else {
      connection.answer(200, "{}");
    }
  });
  net::Loop loop;
  ApiClient client(loop, config_of(server));
  {
    const auto forgotten = client.begin_get("/silent");
    EXPECT_TRUE(client.begin_get("/x").wait().has_value());
  }
  EXPECT_TRUE(client.begin_get("/x").wait().has_value());
  bool is_called = false;
  auto second = std::make_unique<ApiClient>(loop, config_of(server));
  second->send({.path = "/silent"}, [&](const ApiResult<Json>&) { is_called = true; });
  second.reset();
  EXPECT_TRUE(client.begin_get("/x").wait().has_value());
  EXPECT_FALSE(is_called);
}

TEST(ApiClientCalls, TheirCallbackMayDestroyTheClient) {
  TestApiServer server(
      [](const TestRequest&, TestConnection& connection) { connection.answer(200, "{}"); });
  net::Loop loop;
  auto client = std::make_unique<ApiClient>(loop, config_of(server));
  bool is_done = false;
  client->send({.path = "/x"}, [&](const ApiResult<Json>&) {
    client.reset();
    is_done = true;
  });
  EXPECT_TRUE(loop.run_until([&] { return is_done; }));
}

struct Streamed {
  std::vector<std::string> lines;
  bool is_opened = false;
  bool is_over = false;
  std::optional<ApiError> why;

  ApiClient::StreamHandlers handlers() {
    ApiClient::StreamHandlers made;
    made.opened = [this] { is_opened = true; };
    made.line = [this](std::string_view line) { lines.emplace_back(line); };
    made.ended = [this](std::optional<ApiError> error) {
      is_over = true;
      why = std::move(error);
    };
    return made;
  }
};

TEST(ApiClientStreams, ComeLineByLine) {
  TestApiServer server([](const TestRequest&, TestConnection& connection) {
    connection.open_stream();
    connection.chunk("one\ntw");
    connection.chunk("o\n\nthr");
    connection.chunk("ee");
    connection.end_stream();
  });
  net::Loop loop;
  ApiClient client(loop, config_of(server));
  Streamed got;
  const auto stream = client.open_stream({.path = "/log"}, got.handlers());
  ASSERT_TRUE(client.run_until([&] { return got.is_over; }, kPatience));
  EXPECT_TRUE(got.is_opened);
  EXPECT_FALSE(got.why.has_value());
  EXPECT_EQ(got.lines, (std::vector<std::string>{"one", "two", "", "three"}));
}

TEST(ApiClientStreams, AreHandedOnAsTheyCome) {
  std::atomic<bool> may_end = false;
  TestApiServer server([&](const TestRequest& request, TestConnection& connection) {
    if (request.path != "/log") {
      connection.answer(200, "{}");
      return;
    }
    connection.open_stream();
    connection.chunk("first\n");
    while (!may_end) {
      std::this_thread::yield();
    }
    connection.end_stream();
  });
  net::Loop loop;
  ApiClient client(loop, config_of(server));
  Streamed got;
  const auto stream = client.open_stream({.path = "/log"}, got.handlers());
  ASSERT_TRUE(client.run_until([&] { return got.lines.size() == 1; }, kPatience));
  EXPECT_TRUE(client.begin_get("/x").wait().has_value());  // beside it
  may_end = true;
  EXPECT_TRUE(client.run_until([&] { return got.is_over; }, kPatience));
}

TEST(ApiClientStreams, ThatAreRefusedSayWhy) {
  TestApiServer server([](const TestRequest& request, TestConnection& connection) {
    if (request.path == "/silent") {
      connection.wait_for_client();
    } else if (request.path == "/broken") {
      connection.open_stream();
      connection.chunk("one\ntwo");
      connection.hang_up();
    } else {
      connection.answer(410, status_object(410, "Expired", "too old"));
    }
  });
  net::Loop loop;
  ApiClient client(loop, config_of(server));
  Streamed refused;
  const auto first = client.open_stream({.path = "/watch"}, refused.handlers());
  ASSERT_TRUE(client.run_until([&] { return refused.is_over; }, kPatience));
  EXPECT_FALSE(refused.is_opened);
  ASSERT_TRUE(refused.why.has_value());
  EXPECT_EQ(refused.why->status, 410);
  EXPECT_EQ(refused.why->reason, "Expired");

  Streamed silent;
  const auto second =
      client.open_stream({.path = "/silent", .timeout = milliseconds(200)}, silent.handlers());
  ASSERT_TRUE(client.run_until([&] { return silent.is_over; }, kPatience));
  ASSERT_TRUE(silent.why.has_value());
  EXPECT_EQ(silent.why->code, ErrorCode::kTimeout);

  Streamed broken;
  const auto third = client.open_stream({.path = "/broken"}, broken.handlers());
  ASSERT_TRUE(client.run_until([&] { return broken.is_over; }, kPatience));
  ASSERT_TRUE(broken.why.has_value());
  EXPECT_EQ(broken.why->code, ErrorCode::kDisconnected);
  EXPECT_EQ(broken.lines, std::vector<std::string>{"one"});
}

TEST(ApiClientStreams, ALineHasABound) {
  TestApiServer server([](const TestRequest&, TestConnection& connection) {
    connection.open_stream();
    const std::string piece(1024 * 1024, 'x');
    for (int i = 0; i < 20; ++i) {
      connection.chunk(piece);
    }
    connection.end_stream();
  });
  net::Loop loop;
  ApiClient client(loop, config_of(server));
  Streamed got;
  const auto stream = client.open_stream({.path = "/log"}, got.handlers());
  ASSERT_TRUE(client.run_until([&] { return got.is_over; }, kPatience));
  ASSERT_TRUE(got.why.has_value());
  EXPECT_EQ(got.why->code, ErrorCode::kPeer);
  EXPECT_TRUE(got.lines.empty());
}

TEST(ApiClientStreams, MayBeDestroyedByTheirOwnLine) {
  TestApiServer server([](const TestRequest&, TestConnection& connection) {
    connection.open_stream();
    connection.chunk("one\ntwo\n");
    connection.wait_for_client();
  });
  net::Loop loop;
  ApiClient client(loop, config_of(server));
  int lines = 0;
  std::unique_ptr<ApiClient::Stream> stream;
  ApiClient::StreamHandlers handlers;
  handlers.line = [&](std::string_view) {
    ++lines;
    stream.reset();
  };
  stream = client.open_stream({.path = "/log"}, std::move(handlers));
  EXPECT_TRUE(client.run_until([&] { return stream == nullptr; }, kPatience));
  EXPECT_EQ(lines, 1);
}

TEST(ApiClientStreams, MayComeInPieces) {
  TestApiServer server([](const TestRequest&, TestConnection& connection) {
    connection.open_stream();
    connection.chunk(std::string("a\n\0b\n", 5));
    connection.end_stream();
  });
  net::Loop loop;
  ApiClient client(loop, config_of(server));
  std::string bytes;
  bool is_over = false;
  ApiClient::StreamHandlers handlers;
  handlers.piece = [&](std::string_view piece) { bytes += piece; };
  handlers.ended = [&](const std::optional<ApiError>&) { is_over = true; };
  const auto stream = client.open_stream({.path = "/list"}, std::move(handlers));
  ASSERT_TRUE(client.run_until([&] { return is_over; }, kPatience));
  EXPECT_EQ(bytes, std::string("a\n\0b\n", 5));
}

TEST(ApiClientUpgrades, GetAddressAndIdentity) {
  TestApiServer server(
      [](const TestRequest&, TestConnection& connection) { connection.answer(200, "{}"); });
  net::Loop loop;
  ClientConfig config = config_of(server);
  config.server += "/prefix";
  config.credentials = [](bool) -> Result<Credentials> { return Credentials{.bearer_token = "t"}; };
  ApiClient client(loop, std::move(config));
  CURL* handle = curl_easy_init();
  ASSERT_TRUE(client.prepare_upgrade(handle, "/x").has_value());
  std::string body;
  curl_easy_setopt(handle, CURLOPT_WRITEDATA, &body);
  curl_easy_setopt(
      handle, CURLOPT_WRITEFUNCTION,
      +[](char*, std::size_t, std::size_t size, void*) { return size; });
  EXPECT_EQ(curl_easy_perform(handle), CURLE_OK);
  curl_easy_cleanup(handle);
  ASSERT_EQ(server.requests().size(), 1U);
  EXPECT_EQ(server.requests()[0].path, "/prefix/x");
  EXPECT_EQ(server.requests()[0].header("Authorization"), "Bearer t");
}

}  // namespace
}  // namespace mirrord::k8s
