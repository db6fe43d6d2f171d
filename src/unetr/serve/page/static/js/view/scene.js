/** niivue as this page needs it: one picture for many changes, and in 3D a scan that lets the labels be seen. */

import { Niivue } from "../../vendor/niivue.js";

export class Scene extends Niivue {
  /** Of the scan in 3D, while labels are over it: 0 is not seen, 1 hides what is within. */
  clarity = 0.25;

  /** niivue draws after each change; a new scan with labels makes ten, which are one picture on the screen. */
  drawScene() {
    if (this.waits) return;
    this.waits = true;
    requestAnimationFrame(() => {
      this.waits = false;
      super.drawScene();
    });
  }

  draw3D(...given) {
    if (this.drawBitmap && this.renderShader) {
      this.renderShader.use(this.gl);
      this.gl.uniform1f(this.renderShader.uniforms.backOpacity, this.clarity);
    }
    return super.draw3D(...given);
  }
}
