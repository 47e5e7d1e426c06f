/* Search of the site when it is opened from the disk.

   Browsers start no Worker from file://. This replacement runs the search script in a hidden frame instead. On a web server
   the page uses the browser's own Worker. */
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      this.frame = document.createElement("iframe");
      this.frame.hidden = true;
      this.waiting = [];
      window.addEventListener("message", (event) => {
        if (event.source !== this.frame.contentWindow) return;
        if (event.data === "iframe-worker ready") {
          this.ready = true;
          this.waiting.splice(0).forEach((data) => this.postMessage(data));
          return;
        }
        this.dispatchEvent(new MessageEvent("message", { data: event.data }));
      });
      document.body.appendChild(this.frame);
      const content = this.frame.contentWindow.document;
      content.open();
      content.write(`<script>
        // The search script posts to its page, and loads further languages.
        self.postMessage = (data) => parent.postMessage(data, "*");
        self.importScripts = (...urls) => urls.reduce((done, url) => done.then(() => new Promise((loaded, failed) => {
          const script = document.createElement("script");
          script.src = url; script.onload = loaded; script.onerror = failed;
          document.head.appendChild(script);
        })), Promise.resolve());
      </${"script"}><script src="${new URL(url, document.baseURI)}"></${"script"}>
      <script>parent.postMessage("iframe-worker ready", "*")</${"script"}>`);
      content.close();
    }

    postMessage(data) {
      if (this.ready) this.frame.contentWindow.dispatchEvent(new MessageEvent("message", { data }));
      else this.waiting.push(data);
    }

    terminate() {
      this.frame.remove();
    }
  };
}
