/** This machine cannot hold the cluster as it is. The message is one sentence for the person at the keyboard; exit code 2. */
export class Unfit extends Error {}
