// tests/unit/net/ciphers_test.cpp — ChaCha20 and Poly1305 as TLS uses them (cmake/ciphers).
#include <gtest/gtest.h>
#include <mbedtls/chacha20.h>
#include <mbedtls/chachapoly.h>
#include <mbedtls/poly1305.h>

#include <array>
#include <numeric>
#include <random>
#include <string>
#include <string_view>
#include <vector>

namespace {

using Bytes = std::vector<unsigned char>;

Bytes from_hex(std::string_view text) {
  Bytes bytes;
  for (std::size_t i = 0; i + 1 < text.size(); i += 2)
    bytes.push_back(
        static_cast<unsigned char>(std::stoi(std::string(text.substr(i, 2)), nullptr, 16)));
  return bytes;
}

// The text of RFC 8439, sections 2.4.2 and 2.8.2.
constexpr std::string_view kText =
    "Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, "
    "sunscreen would be it.";

const unsigned char* text_bytes() {
  return reinterpret_cast<const unsigned char*>(kText.data());
}

TEST(Ciphers, TheSealedTextOfTheRfc) {
  Bytes key(32);
  std::iota(key.begin(), key.end(), static_cast<unsigned char>(0x80));
  const Bytes nonce = from_hex("070000004041424344454647");
  const Bytes associated = from_hex("50515253c0c1c2c3c4c5c6c7");
  const Bytes expected = from_hex(
      "d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d63dbea45e8ca9671282fafb69da92"
      "728b"
      "1a71de0a9e060b2905d6a5b67ecd3b3692ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585808b4831"
      "d7bc"
      "3ff4def08e4b7a9de576d26586cec64b6116");
  mbedtls_chachapoly_context context;
  mbedtls_chachapoly_init(&context);
  ASSERT_EQ(mbedtls_chachapoly_setkey(&context, key.data()), 0);
  Bytes sealed(kText.size());
  Bytes tag(16);
  ASSERT_EQ(mbedtls_chachapoly_encrypt_and_tag(&context, kText.size(), nonce.data(),
                                               associated.data(), associated.size(), text_bytes(),
                                               sealed.data(), tag.data()),
            0);
  EXPECT_EQ(sealed, expected);
  EXPECT_EQ(tag, from_hex("1ae10b594f09e26a7e902ecbd0600691"));

  Bytes opened(kText.size());
  EXPECT_EQ(
      mbedtls_chachapoly_auth_decrypt(&context, sealed.size(), nonce.data(), associated.data(),
                                      associated.size(), tag.data(), sealed.data(), opened.data()),
      0);
  EXPECT_EQ(std::string(opened.begin(), opened.end()), kText);
  sealed.front() ^= 1;
  EXPECT_NE(
      mbedtls_chachapoly_auth_decrypt(&context, sealed.size(), nonce.data(), associated.data(),
                                      associated.size(), tag.data(), sealed.data(), opened.data()),
      0);
  mbedtls_chachapoly_free(&context);
}

TEST(Ciphers, TheTagOfTheRfc) {
  const Bytes key = from_hex("85d6be7857556d337f4452fe42d506a80103808afb0db2fd4abff6af4149f51b");
  constexpr std::string_view kMessage = "Cryptographic Forum Research Group";
  Bytes tag(16);
  ASSERT_EQ(
      mbedtls_poly1305_mac(key.data(), reinterpret_cast<const unsigned char*>(kMessage.data()),
                           kMessage.size(), tag.data()),
      0);
  EXPECT_EQ(tag, from_hex("a8061dc1305136c6c22b8baf0c0127a9"));
}

TEST(Ciphers, HowATextIsCutDoesNotMatter) {
  Bytes key(32, 7);
  Bytes nonce(12, 9);
  Bytes text(3000);
  std::iota(text.begin(), text.end(), static_cast<unsigned char>(0));
  Bytes whole(text.size());
  ASSERT_EQ(
      mbedtls_chacha20_crypt(key.data(), nonce.data(), 1, text.size(), text.data(), whole.data()),
      0);
  Bytes whole_tag(16);
  ASSERT_EQ(mbedtls_poly1305_mac(key.data(), text.data(), text.size(), whole_tag.data()), 0);

  std::mt19937 random(20261126);
  for (int round = 0; round < 50; ++round) {
    mbedtls_chacha20_context stream;
    mbedtls_chacha20_init(&stream);
    mbedtls_chacha20_setkey(&stream, key.data());
    mbedtls_chacha20_starts(&stream, nonce.data(), 1);
    mbedtls_poly1305_context sum;
    mbedtls_poly1305_init(&sum);
    mbedtls_poly1305_starts(&sum, key.data());
    Bytes parts = text;  // in place, as TLS does it
    for (std::size_t at = 0; at < text.size();) {
      const std::size_t size = std::min<std::size_t>(random() % 300, text.size() - at);
      ASSERT_EQ(mbedtls_poly1305_update(&sum, parts.data() + at, size), 0);
      ASSERT_EQ(mbedtls_chacha20_update(&stream, size, parts.data() + at, parts.data() + at), 0);
      at += size;
    }
    Bytes tag(16);
    ASSERT_EQ(mbedtls_poly1305_finish(&sum, tag.data()), 0);
    EXPECT_EQ(parts, whole) << "round " << round;
    EXPECT_EQ(tag, whole_tag) << "round " << round;
    mbedtls_chacha20_free(&stream);
    mbedtls_poly1305_free(&sum);
  }
}

}  // namespace
