// tests/protocol/imap: COMPRESS=DEFLATE: both directions, any split, bombs.
#include <gmock/gmock.h>
#include <zlib.h>

#include <random>

#include "core/limits.hpp"
#include "protocol/imap/deflate.hpp"
#include "tests/protocol/imap/script.hpp"

namespace mailherd::imap {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

/// What a server's zlib makes of its words.
class packer {
 public:
  explicit packer(int level = 6) { deflateInit2(&z_, level, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY); }
  ~packer() { deflateEnd(&z_); }
  std::string operator()(std::string_view plain, int flush = Z_SYNC_FLUSH) {
    std::string out(deflateBound(&z_, plain.size()) + 64, '\0');
    z_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(plain.data()));
    z_.avail_in = static_cast<uInt>(plain.size());
    z_.next_out = reinterpret_cast<Bytef*>(out.data());
    z_.avail_out = static_cast<uInt>(out.size());
    deflate(&z_, flush);
    out.resize(out.size() - z_.avail_out);
    return out;
  }

 private:
  z_stream z_{};
};

/// What a server's zlib reads in our words.
class unpacker {
 public:
  unpacker() { inflateInit2(&z_, -MAX_WBITS); }
  ~unpacker() { inflateEnd(&z_); }
  std::string operator()(std::string_view packed) {
    std::string out(packed.size() * 2 + 100, '\0');
    z_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(packed.data()));
    z_.avail_in = static_cast<uInt>(packed.size());
    z_.next_out = reinterpret_cast<Bytef*>(out.data());
    z_.avail_out = static_cast<uInt>(out.size());
    EXPECT_EQ(inflate(&z_, Z_SYNC_FLUSH), Z_OK);
    EXPECT_EQ(z_.avail_in, 0u);
    out.resize(out.size() - z_.avail_out);
    return out;
  }

 private:
  z_stream z_{};
};

/// Compressed from command 3 on.
script compressed() {
  script s;
  s.select("IMAP4rev1 IDLE COMPRESS=DEFLATE");
  EXPECT_TRUE(s.engine.compress());
  EXPECT_EQ(s.sent(), "A3 COMPRESS DEFLATE\r\n");
  EXPECT_THAT(s.server("A3 OK DEFLATE active\r\n"), ElementsAre("done 3 COMPRESS"));
  EXPECT_TRUE(s.engine.compressed());
  return s;
}

TEST(compress, both_directions) {
  auto s = compressed();
  packer server;
  unpacker client;
  s.engine.noop();
  EXPECT_EQ(client(s.sent()), "A4 NOOP\r\n");
  EXPECT_THAT(s.server(server("* 4 EXISTS\r\nA4 OK\r\n")), ElementsAre("exists 4", "done 4 NOOP"));
  s.engine.idle();
  EXPECT_EQ(client(s.sent()), "A5 IDLE\r\n");
  EXPECT_THAT(s.server(server("+ idling\r\n")), ElementsAre("idling 5"));
  s.engine.done_idle();
  EXPECT_EQ(client(s.sent()), "DONE\r\n");
  EXPECT_EQ(s.sent(), "") << "nothing to say is nothing on the wire";
}

TEST(compress, begins_right_behind_the_answer) {
  script s;
  s.select("IMAP4rev1 COMPRESS=DEFLATE");
  s.engine.compress();
  s.sent();
  packer server;
  EXPECT_THAT(s.server("A3 OK active\r\n" + server("* 4 EXISTS\r\n")), ElementsAre("done 3 COMPRESS", "exists 4"));
}

TEST(compress, refused_or_not_offered) {
  script s;
  s.select();
  EXPECT_EQ(s.engine.compress().error().code, failure::internal);
  script refused;
  refused.select("IMAP4rev1 COMPRESS=DEFLATE");
  refused.engine.compress();
  EXPECT_FALSE(refused.engine.noop()) << "nothing stands behind it";
  EXPECT_THAT(refused.server("A3 NO [COMPRESSIONACTIVE] by TLS already\r\n"), ElementsAre("refused 3 COMPRESS command_refused"));
  refused.sent();
  refused.engine.noop();
  EXPECT_EQ(refused.sent(), "A4 NOOP\r\n");
  auto twice = compressed();
  EXPECT_FALSE(twice.engine.compress());
  script early;
  early.select("IMAP4rev1 COMPRESS=DEFLATE");
  early.engine.compress();
  EXPECT_THAT(early.server("A3 OK\r\n"), ElementsAre("failed protocol_violation")) << "before the command has left";
}

TEST(compress, any_split) {
  std::mt19937 random(7);
  std::string message;
  for (int i = 0; i < 40'000; ++i) message += static_cast<char>("abcdefgh \r\n"[random() % 11]);
  const std::string plain = fmt::format("* 1 FETCH (UID 5 BODY[] {{{}}}\r\n{})\r\n* 4 EXISTS\r\nA4 OK\r\n", message.size(), message);
  packer server;
  auto wire = server(plain.substr(0, 1'000));
  wire += server(plain.substr(1'000));
  for (const std::size_t piece : {std::size_t{0}, std::size_t{1}, std::size_t{7}, std::size_t{1'000}}) {
    auto s = compressed();
    s.engine.fetch(uids({5}), fetch_what::body);
    EXPECT_THAT(s.server(wire, piece), ElementsAre(fmt::format("begin 1 uid=5 {}", message.size()), "body " + message,
                                                   "fetched 1 uid=5 body", "exists 4", "done 4 UID FETCH"));
  }
}

TEST(compress, large_commands_in_stored_blocks) {
  for (const std::size_t n : {std::size_t{1}, std::size_t{65'535}, std::size_t{65'536}, std::size_t{200'000}}) {
    const std::string plain(n, 'x');
    unpacker client;
    EXPECT_EQ(client(deflate_layer::pack(plain)), plain) << n;
  }
}

TEST(compress, damage_ends_the_session) {
  auto s = compressed();
  EXPECT_THAT(s.server("* 4 EXISTS\r\n"), ElementsAre("failed protocol_violation")) << "in the clear";
  auto flipped = compressed();
  packer server;
  auto wire = server("* 4 EXISTS\r\n* 5 EXISTS\r\n");
  wire[0] = static_cast<char>(wire[0] ^ 0x06);
  flipped.server(wire);
  flipped.server(std::string(100, '\xFF'));
  EXPECT_TRUE(flipped.engine.failed());
}

TEST(compress, the_end_of_the_stream) {
  auto s = compressed();
  packer server;
  EXPECT_THAT(s.server(server("* BYE see you\r\n", Z_FINISH)), ElementsAre("bye server_bye"));
  EXPECT_FALSE(s.engine.failed());
  EXPECT_THAT(s.server("more"), ElementsAre("failed protocol_violation"));
  auto at_once = compressed();
  packer other;
  EXPECT_THAT(at_once.server(other("* 4 EXISTS\r\n", Z_FINISH) + "more"), ElementsAre("exists 4", "failed protocol_violation"));
}

TEST(compress, a_bomb_costs_neither_memory_nor_time) {
  auto s = compressed();
  s.engine.fetch(uids({5}), fetch_what::body);
  packer server(9);
  std::string wire = server("* 1 FETCH (UID 5 BODY[] {500000000}\r\n", Z_FULL_FLUSH);
  const auto zeros = server(std::string(2'000'000, '\0'), Z_FULL_FLUSH);  // refers to nothing before it: can be said again
  for (int i = 0; i < 50; ++i) wire += zeros;
  ASSERT_LT(wire.size(), 200'000u);
  s.engine.receive(wire, test_now);
  std::size_t bytes = 0, most = 0;
  error reason;
  while (const auto e = s.engine.next_event()) {
    if (const auto* chunk = std::get_if<event::body_chunk>(&*e)) bytes += chunk->bytes.size();
    if (const auto* f = std::get_if<event::failed>(&*e)) reason = f->reason;
    most = std::max(most, s.engine.heap_bytes());
  }
  EXPECT_EQ(reason.code, failure::limit_exceeded);
  EXPECT_LE(bytes, limits::imap_inflated_bytes);
  EXPECT_LT(most, 128u * 1024);
}

TEST(compress, much_that_arrives_bit_by_bit_is_no_bomb) {
  auto s = compressed();
  s.engine.fetch(uids({5}), fetch_what::body);
  packer server(9);
  s.server(server("* 1 FETCH (UID 5 BODY[] {100000000}\r\n", Z_FULL_FLUSH));
  const auto zeros = server(std::string(10'000'000, '\0'), Z_FULL_FLUSH);
  std::size_t bytes = 0;
  for (int i = 0; i < 10; ++i) {
    s.engine.receive(zeros, test_now);
    while (const auto e = s.engine.next_event())
      if (const auto* chunk = std::get_if<event::body_chunk>(&*e)) bytes += chunk->bytes.size();
  }
  EXPECT_FALSE(s.engine.failed());
  EXPECT_EQ(bytes, 100'000'000u);
}

TEST(compress, idle_memory) {
  auto s = compressed();
  packer server;
  s.engine.idle();
  s.sent();
  s.server(server("+ idling\r\n"));
  EXPECT_LT(s.engine.heap_bytes(), 48u * 1024);
}

}  // namespace
}  // namespace mailherd::imap
