// net/http/http1_writer.cpp — see the header; the choice of a framing is RFC 9112 §6.
#include "net/http/http1_writer.h"

#include <charconv>

#include "net/http/body_reader.h"
#include "net/http/translate.h"

namespace mirrord::net::http {

namespace {

void write_field(std::string& output, std::string_view name, std::string_view value) {
  output.append(name).append(": ").append(value).append("\r\n");
}

// Fields that the writer decides about; the others pass as they are.
struct Edits {
  bool drops_length = false, drops_coding = false;
  std::optional<std::uint64_t> length =
      std::nullopt;  // written in place of the one that is there, or at the end
  bool adds_chunked = false;
  bool says_close = false;
};

void write_fields(std::string& output, const Headers& headers, const Edits& edits) {
  bool has_length = false, has_close = false;
  for (const Header header : headers) {
    if (equals_ignoring_case(header.name, "content-length")) {
      if (edits.drops_length || has_length)
        continue;
      if (edits.length) {
        has_length = true;
        write_field(output, header.name, std::to_string(*edits.length));
        continue;
      }
    } else if (edits.drops_coding && equals_ignoring_case(header.name, "transfer-encoding")) {
      continue;
    } else if (edits.says_close && equals_ignoring_case(header.name, "connection")) {
      if (!has_close)
        write_field(output, header.name, "close");
      has_close = true;
      continue;
    } else if (edits.says_close && equals_ignoring_case(header.name, "keep-alive")) {
      continue;
    }
    write_field(output, header.name, header.value);
  }
  if (edits.length && !has_length)
    write_field(output, "Content-Length", std::to_string(*edits.length));
  if (edits.adds_chunked)
    write_field(output, "Transfer-Encoding", "chunked");
  if (edits.says_close && !has_close)
    write_field(output, "Connection", "close");
  output.append("\r\n");
}

// Whether the fields ask for exactly the one coding there is.
bool has_chunked(const Headers& headers) {
  const auto coding = headers.find("transfer-encoding");
  return coding && equals_ignoring_case(*coding, "chunked");
}

// The framing of a body that is there: by the fields where they can be kept, else by what is known.
OutputFraming choose_framing(const Headers& headers, std::optional<std::size_t> complete_size,
                             bool may_chunk, Edits& edits) {
  const bool has_coding = headers.contains("transfer-encoding");
  const bool has_length = headers.contains("content-length");
  if (has_coding && may_chunk) {
    edits.drops_length = true;
    edits.drops_coding = !has_chunked(headers);
    edits.adds_chunked = edits.drops_coding;
    return {OutputFraming::Kind::kChunked};
  }
  edits.drops_coding = true;
  const auto length = content_length(headers);
  if (complete_size) {
    edits.length = *complete_size;
    return {OutputFraming::Kind::kLength, *complete_size};
  }
  if (has_length && length) {
    edits.length = *length;
    return {OutputFraming::Kind::kLength, *length};
  }
  edits.drops_length = true;
  edits.adds_chunked = may_chunk;
  return {may_chunk ? OutputFraming::Kind::kChunked : OutputFraming::Kind::kUntilClose};
}

void write_status_line(std::string& output, const ResponseHead& head) {
  output.append(to_string(head.version)).append(" ");
  output.append(std::to_string(head.status)).append(" ").append(head.reason).append("\r\n");
}

}  // namespace

WrittenResponse write_response_head(std::string& output, const ResponseHead& given,
                                    const RequestContext& request,
                                    std::optional<std::size_t> complete_size) {
  if (given.version == Version::kHttp2)
    return write_response_head(output, to_http1(given), request, complete_size);
  const ResponseHead& head = given;
  Edits edits;
  OutputFraming framing;
  if (is_tunnel(request.method, head.status)) {  // RFC 9110 §9.3.6
    write_status_line(output, head);
    write_fields(output, head.headers, {.drops_length = true, .drops_coding = true});
    return {{OutputFraming::Kind::kUntilClose}, false};
  }
  if (head.status == 204) {
    edits.drops_length = edits.drops_coding = true;  // RFC 9112 §6.1, RFC 9110 §8.6
  } else if (is_bodiless(request.method, head.status)) {
    // What a GET would have been answered with; of a length and a coding only one.
    edits.drops_length = head.headers.contains("transfer-encoding");
  } else {
    const bool may_chunk = request.version != Version::kHttp10 && head.version == Version::kHttp11;
    framing = choose_framing(head.headers, complete_size, may_chunk, edits);
  }
  const bool is_persistent = request.version == Version::kHttp10 || head.version == Version::kHttp10
                                 ? head.headers.has_token("connection", "keep-alive")
                                 : true;
  const bool says_close = head.headers.has_token("connection", "close");
  const bool keeps_alive = request.wants_keep_alive && is_persistent && !says_close &&
                           framing.kind != OutputFraming::Kind::kUntilClose;
  edits.says_close =
      !keeps_alive && !says_close &&
      (head.version == Version::kHttp11 || head.headers.has_token("connection", "keep-alive"));
  write_status_line(output, head);
  write_fields(output, head.headers, edits);
  return {framing, keeps_alive};
}

void write_interim_head(std::string& output, const ResponseHead& given) {
  ResponseHead head = given.version == Version::kHttp2 ? to_http1(given) : given;
  head.version = Version::kHttp11;  // 1.0 has no 1xx
  write_status_line(output, head);
  write_fields(output, head.headers, {.drops_length = true, .drops_coding = true});
}

OutputFraming write_request_head(std::string& output, const RequestHead& given,
                                 std::optional<std::size_t> complete_size) {
  if (given.version == Version::kHttp2)
    return write_request_head(output, to_http1(given), complete_size);
  const RequestHead& head = given;
  Edits edits;
  OutputFraming framing;
  Version version = head.version;
  if (head.method == "CONNECT") {
    edits.drops_length = edits.drops_coding = true;
  } else if (complete_size == 0u && !head.headers.contains("transfer-encoding")) {
    // No body. A length that says so stays; one that says something else would make the server wait.
    if (head.headers.contains("content-length"))
      edits.length = 0;
  } else {
    const bool has_length = complete_size || head.headers.contains("content-length");
    if (!has_length)
      version = Version::kHttp11;  // only chunks are left
    framing = choose_framing(head.headers, complete_size, version == Version::kHttp11, edits);
  }
  output.append(head.method).append(" ").append(head.target).append(" ");
  output.append(to_string(version)).append("\r\n");
  write_fields(output, head.headers, edits);
  return framing;
}

bool write_body_end(OutputFraming& framing, const Headers& trailers, std::string& output) {
  if (framing.kind == OutputFraming::Kind::kLength)
    return framing.left == 0;
  if (framing.kind == OutputFraming::Kind::kChunked) {
    output.append("0\r\n");
    write_fields(output, trailers, {.drops_length = true, .drops_coding = true});
  }
  return true;
}

std::string chunk_line(std::size_t size) {
  char text[20];
  const auto end = std::to_chars(text, text + 16, size, 16).ptr;
  return std::string(text, end) + "\r\n";
}

}  // namespace mirrord::net::http
