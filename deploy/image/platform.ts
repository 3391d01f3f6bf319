/** What an image can be made for. */
export type Architecture = "amd64" | "arm64";

/** How each platform is called by those whose parts go into the image. */
export interface Platform {
  architecture: Architecture;
  /** The npm package that holds Deno for it. */
  denoPackage: string;
  /** Debian's folder of libraries, below `lib/`. */
  libraryFolder: string;
  /** The loader's path as programs name it, without the leading slash. */
  loader: string;
  /** `os.arch` as Deno says it of the machine. */
  denoArch: typeof Deno.build.arch;
}

/** Every platform that an image can be made for. */
export const PLATFORMS: Readonly<Record<Architecture, Platform>> = {
  amd64: {
    architecture: "amd64",
    denoPackage: "@deno/linux-x64-glibc",
    libraryFolder: "x86_64-linux-gnu",
    loader: "lib64/ld-linux-x86-64.so.2",
    denoArch: "x86_64",
  },
  arm64: {
    architecture: "arm64",
    denoPackage: "@deno/linux-arm64-glibc",
    libraryFolder: "aarch64-linux-gnu",
    loader: "lib/ld-linux-aarch64.so.1",
    denoArch: "aarch64",
  },
};

/** @param text `linux/amd64`, say; `undefined` where there is no such platform */
export function parsePlatform(text: string): Platform | undefined {
  return Object.values(PLATFORMS).find(({ architecture }) => text === `linux/${architecture}`);
}

/** The platform of this machine. @throws {RangeError} no image is made for it */
export function ownPlatform(): Platform {
  const own = Object.values(PLATFORMS).find(({ denoArch }) => denoArch === Deno.build.arch);
  if (own === undefined) throw new RangeError(`no image is made for ${Deno.build.arch}`);
  return own;
}
