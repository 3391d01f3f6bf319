import assert from "node:assert/strict";
import fc from "fast-check";
import { escapeXml, xmlElements, xmlText } from "./s3_xml.ts";

Deno.test("escapeXml: what is escaped is read back, and opens no element", () => {
  fc.assert(fc.property(fc.string({ unit: "binary" }), (text) => {
    const escaped = escapeXml(text);
    assert.doesNotMatch(escaped, /[<>"']/);
    assert.equal(xmlText(`<r><Key>${escaped}</Key></r>`, "Key"), text);
  }));
});

const texts = [
  { xml: "<A>x</A>", want: "x" },
  { xml: '<A a="1">x</A>', want: "x" },
  { xml: "<A/>", want: "" },
  { xml: "<A></A>", want: "" },
  { xml: "<AB>x</AB>", want: undefined },
  { xml: "<A>x", want: undefined },
  { xml: "<A>&quot;1&quot;</A>", want: '"1"' },
  { xml: "<A>&#x26;&#38;&amp;</A>", want: "&&&" },
  { xml: "<A>&amp;lt;</A>", want: "&lt;" },
  { xml: "<A>&nope;&#9999999;</A>", want: "&nope;&#9999999;" },
  { xml: "<A>1</A><A>2</A>", want: "1" },
];
for (const { xml, want } of texts) {
  Deno.test(`xmlText reads ${xml} as ${JSON.stringify(want)}`, () => assert.equal(xmlText(xml, "A"), want));
}

Deno.test("xmlElements gives each element of a name, as it stands there", () => {
  const xml = "<L><C><K>1</K></C><D/><C><K>&lt;</K></C></L>";
  assert.deepEqual(xmlElements(xml, "C"), ["<K>1</K>", "<K>&lt;</K>"]);
});

Deno.test("xmlElements reads any text in time that grows with it", () => {
  const startedAt = performance.now();
  assert.deepEqual(xmlElements("<C ".repeat(100_000), "C"), []);
  assert.deepEqual(xmlElements("<C>".repeat(1_000_000), "C"), []);
  assert.ok(performance.now() - startedAt < 2_000);
});
