// Hostile HTML against the allow-list: nothing that acts, nothing that is fetched, nothing that escapes its place.
#include <gtest/gtest.h>

#include <chrono>

#include "core/limits.hpp"
#include "protocol/mime/html.hpp"
#include "tests/corpus/hostile_html.hpp"

namespace mailherd::mime {
namespace {

std::string safe(std::string_view html) {
  return safe_html(html, [](std::string_view id) { return id == "logo@x" ? std::optional<std::string>("/attachments/3") : std::nullopt; }).value_or("(none)");
}

TEST(html, keeps_what_mail_is_made_of) {
  EXPECT_EQ(safe("<p>Dear <b>Ann</b>,<br>see <a href=\"https://x.test/a?b=1&amp;c=2\">this</a> &amp; that</p>"),
            "<p>Dear <b>Ann</b>,<br>see <a href=\"https://x.test/a?b=1&amp;c=2\" target=\"_blank\" rel=\"noopener noreferrer nofollow\">this</a> &amp; that</p>");
  EXPECT_EQ(safe("<table width=100%><tr><td style='color: RED; position: fixed'>M\xC3\xB6""bel</td></tr></table>"),
            "<table width=\"100%\"><tr><td style=\"color: red\">M\xC3\xB6""bel</td></tr></table>");
}

TEST(html, images_come_from_the_message_or_wait) {
  EXPECT_EQ(safe("<img src='cid:logo@x' alt=Logo>"), "<img src=\"/attachments/3\" alt=\"Logo\">");
  EXPECT_EQ(safe("<img src='cid:missing'>"), "<img>");
  EXPECT_EQ(safe("<img src='https://track.test/p.gif' width=1>"), "<img data-remote-src=\"https://track.test/p.gif\" width=\"1\">");
  EXPECT_EQ(safe("<img src='data:image/png;base64,AAAA'>"), "<img src=\"data:image/png;base64,AAAA\">");
  EXPECT_EQ(safe("<img src='data:image/svg+xml;base64,AAAA'>"), "<img>");
  EXPECT_EQ(safe("<td background='https://track.test/p.gif'>x</td>"), "<td>x</td>");
}

TEST(html, hostile_corpus) {
  for (const auto html : corpus::hostile_html) {
    const auto out = safe(html);
    for (const char* evil : {"<script", "<style", "<svg", "<math", "<iframe", "<object", "<embed", "<form", "<input", "<button", "<textarea", "<meta", "<base", "<link",
                             "<video", "<template", "<!--", "<!["})
      EXPECT_EQ(out.find(evil), std::string::npos) << html << "\n" << out;
    // In a tag, not in a text: outside of it every sign that could begin one is escaped.
    for (std::size_t at = out.find('<'); at != std::string::npos; at = out.find('<', at + 1)) {
      auto tag = out.substr(at, out.find('>', at) - at);
      for (std::size_t quote; (quote = tag.find('"')) != std::string::npos;) {
        const auto value = tag.substr(quote + 1, tag.find('"', quote + 1) - quote - 1);
        EXPECT_FALSE(value.starts_with("javascript") || value.starts_with("vbscript") || value.starts_with("data:text")) << out;
        EXPECT_EQ(value.find("url("), std::string::npos) << out;
        tag.erase(quote, value.size() + 2);
      }
      EXPECT_EQ(tag.find(" on"), std::string::npos) << html << "\n" << out;
      EXPECT_EQ(tag.find("srcdoc"), std::string::npos) << out;
    }
  }
}

TEST(html, nothing_moves_over_what_is_around_it) {
  for (const std::string style : {"margin-top:-400px", "margin: 0 0 0 -4em", "margin:-.5em", "margin:1px - 2px", "text-indent:-9px", "letter-spacing:-9px", "position:fixed", "inset:0",
                                  "transform:none", "z-index:9", "top:0", "float:left"})
    EXPECT_EQ(safe("<p style='" + style + "'>x</p>"), "<p>x</p>") << style;
  EXPECT_EQ(safe("<p style='font-family: Courier-New, sans-serif; background-color: #f0f-1'>x</p>"), "<p style=\"font-family: courier-new, sans-serif\">x</p>");
}

TEST(html, is_closed_bounded_and_stable) {
  EXPECT_EQ(safe("<div><b>x"), "<div><b>x</b></div>") << "what is left open does not swallow the page around it";
  EXPECT_NE(safe("</div></td>x").find('x'), std::string::npos);
  EXPECT_EQ(safe("</div></td>x").find("</div"), std::string::npos) << "nor is anything closed that is not its own";
  EXPECT_NE(safe("a</body></html>b").find('b'), std::string::npos) << "what stands behind the end is text too";
  std::string deep;
  for (int i = 0; i < 100'000; ++i) deep += "<div>";
  const auto out = safe(deep + "x");
  EXPECT_LE(out.size(), 11 * limits::html_safe_depth + 10);
  EXPECT_NE(out.find('x'), std::string::npos);
  EXPECT_EQ(safe(std::string(limits::html_safe_input_bytes + 1, 'x')), "(none)");
  EXPECT_EQ(safe(std::string(limits::html_safe_input_bytes, '"')), "(none)") << "it would grow past its bound";
  const auto once = safe("<p style='color:red'>a<img src=https://x.test/i><a href=mailto:a@b.test>b</a></p>");
  EXPECT_EQ(safe_html(once, {}).value_or("").substr(0, 20), once.substr(0, 20));
}

TEST(html, tags_are_read_as_browsers_read_them) {
  const auto in_div = [](const std::string& html) {   // where the parser adds no paragraph of its own
    auto out = safe("<div>" + html);
    EXPECT_TRUE(out.starts_with("<div>") && out.ends_with("</div>")) << out;
    return out.substr(5, out.size() - 11);
  };
  EXPECT_EQ(in_div("a<!-- <b>x</b> -->b<!-->c<!--->d<?php x ?>e<![if !mso]>f<![endif]><!doctype html>g</ x>h</>i"), "abcdefghi");
  EXPECT_EQ(in_div("<P ALIGN=center align=right TITLE='say \"a\" > b' data-x=y id=z>x</P\n>"), "<p align=\"center\" title=\"say &quot;a&quot; &gt; b\">x</p>");
  EXPECT_EQ(in_div("<a href = https://x.test/a/>b</a>"), "<a href=\"https://x.test/a/\" target=\"_blank\" rel=\"noopener noreferrer nofollow\">b</a>");
  EXPECT_EQ(in_div("<b title>x</b>1 < 2 <3 <"), "<b title=\"\">x</b>1 &lt; 2 &lt;3 &lt;");
  EXPECT_EQ(in_div("<o:p>a</o:p><blink>b</blink><custom-element x=1>c</custom-element>"), "abc") << "what nobody knows leaves its text";
  EXPECT_EQ(in_div("a<script>if (x </y>/) '<b>'</SCRIPT >b<style>p{}</style>c<input name=x><meta x>d"), "abcd");
  EXPECT_EQ(in_div("a<wbr>b<br/>c<img src=cid:logo@x />d<hr>"), "a<wbr>b<br>c<img src=\"/attachments/3\">d<hr>");
  EXPECT_EQ(in_div("a<b title=\"never closed>b"), "a");
}

std::string repeated(const std::string& piece, std::size_t bytes) {
  std::string out;
  while (out.size() + piece.size() <= bytes) out += piece;
  return out;
}

/// Milliseconds each; minutes where something is searched once for every tag, attribute or function.
TEST(html, hostile_mail_costs_little) {
  constexpr auto half = limits::html_safe_input_bytes / 2;
  std::string many = "<b", unseen = "<!-- <a x=\" --><b";
  for (int i = 0; many.size() < 2 * half - 30; ++i) many += " x" + std::to_string(i);
  for (int i = 0; unseen.size() < 2 * half - 30; ++i) unseen += " x" + std::to_string(i);
  for (const std::string& evil : {repeated("<b>", half) + repeated("</i>", half), repeated("<wbr>", half) + repeated("</i>", half),
                                  repeated("<source>", half) + repeated("</i>", half), repeated("<x>", half) + repeated("</y>", half),
                                  repeated("<b>", half) + repeated("<body>", half), "<i><div>" + repeated("<b>", 60) + repeated("</i>", half + half / 2),
                                  many + ">x", unseen + ">x", "<p style='color:" + repeated("rgb(", limits::html_attribute_bytes) + "'>x",
                                  repeated("<!--", 2 * half), repeated("<script>", 2 * half), repeated("<a b=\"", 2 * half)}) {
    const auto begin = std::chrono::steady_clock::now();
    safe(evil);
    EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(10)) << evil.substr(0, 20) << " ... " << evil.substr(evil.size() - 20);
  }
  EXPECT_EQ(safe(repeated("<b>", half) + repeated("</i>", half)), "(none)") << "too deep for so many end tags";
  EXPECT_EQ(safe("<b" + many.substr(2) + " title=y>x</b>"), "<b title=\"y\">x</b>");
  EXPECT_EQ(safe("<p style='color: rgba(1, 2, 3, 0.5); background-color: rgb(1,2,3)'>x</p>"), "<p style=\"color: rgba(1, 2, 3, 0.5); background-color: rgb(1,2,3)\">x</p>");
  for (const char* odd : {"rgb(1", "rgb(1))", "rgrgb(b(1)", "url(x)", "calc(1)"}) EXPECT_EQ(safe("<p style='color:" + std::string(odd) + "'>x</p>"), "<p>x</p>") << odd;
}

}  // namespace
}  // namespace mailherd::mime
