// tests/protocol/imap: what SEARCH and ESEARCH found: nothing is left out, whatever the form, the length and the way it is cut.
#include <gmock/gmock.h>

#include "core/limits.hpp"
#include "tests/protocol/imap/script.hpp"

namespace mailherd::imap {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

script searching() {
  script s;
  s.select();
  s.engine.search_since(test_now);
  s.sent();
  return s;
}

std::vector<std::string> told(std::string_view response) { return searching().server(response); }

TEST(search, forms) {
  EXPECT_THAT(told("* SEARCH 2 84 882\r\nA3 OK\r\n"), ElementsAre("found 3 2,84,882", "done 3 UID SEARCH"));
  EXPECT_THAT(told("* SEARCH\r\nA3 OK\r\n"), ElementsAre("done 3 UID SEARCH"));
  EXPECT_THAT(told("* SEARCH \r\nA3 OK\r\n"), ElementsAre("done 3 UID SEARCH"));
  EXPECT_THAT(told("A3 OK\r\n"), ElementsAre("done 3 UID SEARCH")) << "some say nothing at all when nothing is found";
  EXPECT_THAT(told("* SEARCH 5 3 4 3 (MODSEQ 917162500)\r\nA3 OK\r\n"), ElementsAre("found 3 3:5", "done 3 UID SEARCH"));
  EXPECT_THAT(told("* search  1  4294967295 \r\n"), ElementsAre("found 3 1,4294967295"));
  EXPECT_THAT(told("* SEARCH 1 2\r\n* SEARCH 3\r\n"), ElementsAre("found 3 1:2", "found 3 3"));
  EXPECT_THAT(told("* ESEARCH (TAG \"A3\") UID ALL 4:18,21,28\r\nA3 OK\r\n"), ElementsAre("found 3 4:18,21,28", "done 3 UID SEARCH"));
  EXPECT_THAT(told("* ESEARCH (TAG \"A3\") UID MIN 4 COUNT 17 ALL 21,4:18 MODSEQ 5\r\n"), ElementsAre("found 3 4:18,21"));
  EXPECT_THAT(told("* ESEARCH (TAG \"A3\") UID\r\n* ESEARCH (TAG \"A3\") UID COUNT 0\r\n"), IsEmpty());
}

TEST(search, what_cannot_be_read_ends_the_session) {
  for (const char* bad :
       {"* SEARCH 1 x 2\r\n", "* SEARCH 0\r\n", "* SEARCH 4294967296\r\n", "* SEARCH 99999999999999999999\r\n", "* SEARCH 1,2\r\n",
        "* SEARCH 1:3\r\n", "* SEARCH -1\r\n", "* ESEARCH (TAG \"A3\") UID ALL\r\n", "* ESEARCH (TAG \"A3\") UID ALL 1,\r\n",
        "* ESEARCH (TAG \"A3\") UID ALL 1:*\r\n", "* ESEARCH (TAG \"A3\") UID ALL 0\r\n", "* ESEARCH (TAG \"A3\") UID ALL 4294967296\r\n",
        "* ESEARCH (TAG \"A3\") ALL 1:3\r\n"})
    EXPECT_THAT(told(bad), ElementsAre("failed protocol_violation")) << bad << "(a message left out here would be left out for good)";
}

TEST(search, nobody_searches) {
  script s;
  s.select();
  EXPECT_THAT(s.server("* SEARCH 1 2 3\r\n* ESEARCH UID ALL 1:3\r\n"), IsEmpty());
}

/// The union of all that was found.
uid_set everything(const std::string& response, std::size_t piece) {
  auto s = searching();
  std::vector<uid_set::range> all;
  std::string_view rest = response;
  while (!rest.empty()) {
    const std::string part(rest.substr(0, piece));
    rest.remove_prefix(part.size());
    s.engine.receive(part, test_now);
    while (const auto e = s.engine.next_event()) {
      if (const auto* f = std::get_if<event::found>(&*e)) all.insert(all.end(), f->uids->ranges().begin(), f->uids->ranges().end());
      if (const auto* f = std::get_if<event::failed>(&*e)) ADD_FAILURE() << describe(f->reason);
      EXPECT_LT(s.engine.heap_bytes(), 256u * 1024) << "a long answer is not kept";
    }
  }
  EXPECT_EQ(s.engine.pending(), 0u);
  return uid_set::of(std::move(all));
}

TEST(search, of_a_whole_mailbox) {
  std::string search = "* SEARCH", esearch = "* ESEARCH (TAG \"A3\") UID ALL ";
  std::vector<uid_set::range> expected;
  for (std::uint32_t u = 1; u < 400'000; u += 3) {
    search += " " + std::to_string(u);
    esearch += (u == 1 ? "" : ",") + std::to_string(u);
    if (u % 4 == 0) {
      esearch += ":" + std::to_string(u + 1);
      search += " " + std::to_string(u + 1);
    }
    expected.push_back({u, u % 4 == 0 ? u + 1 : u});
  }
  ASSERT_GT(search.size(), 10 * limits::imap_line_bytes);
  const auto all = uid_set::of(std::move(expected));
  for (const std::size_t piece : {search.size() * 2, limits::read_buffer_bytes, std::size_t{4'096}, std::size_t{1'000}, std::size_t{17}}) {
    EXPECT_EQ(everything(search + "\r\nA3 OK\r\n", piece).ranges(), all.ranges()) << piece;
    EXPECT_EQ(everything(search + " (MODSEQ 917162500999)\r\nA3 OK\r\n", piece).ranges(), all.ranges()) << piece;
    EXPECT_EQ(everything(esearch + " COUNT 5 MODSEQ 12\r\nA3 OK\r\n", piece).ranges(), all.ranges()) << piece;
  }
}

TEST(search, a_modification_sequence_is_no_uid) {
  // Cut right behind it, in a line long enough to be taken apart while it arrives.
  std::string search = "* SEARCH";
  for (std::uint32_t u = 1; search.size() < 18'000; u += 2) search += " " + std::to_string(u);
  search += " (MODSEQ 917162500)";
  EXPECT_FALSE(everything(search + "\r\nA3 OK\r\n", search.size()).contains({917162500}));
}

TEST(search, backwards_is_no_slower) {
  std::string search = "* SEARCH";
  for (std::uint32_t u = 900'000; u > 2; u -= 3) search += " " + std::to_string(u);
  EXPECT_EQ(everything(search + "\r\nA3 OK\r\n", limits::read_buffer_bytes).size(), 300'000u);
}

TEST(search, that_never_ends) {
  auto s = searching();
  std::string part = " 1 3 5 7";
  while (part.size() < 100'000) part += part;
  s.server("* SEARCH");
  for (int i = 0; i < 1'000 && !s.engine.failed(); ++i) s.server(part);
  EXPECT_EQ(s.reason.code, failure::limit_exceeded);
  auto digits = searching();
  digits.server("* SEARCH ");
  EXPECT_THAT(digits.server(std::string(limits::imap_line_bytes, '1')), ElementsAre("failed limit_exceeded"));
}

}  // namespace
}  // namespace mailherd::imap
